/* A stand-in for the header of the Crazyflie's firmware of the same name: the types that the controller uses,
 * by the names and meanings that the firmware documents, written for tests and simulations on a computer. */
#ifndef HYPERRL_STAND_IN_STABILIZER_TYPES_H
#define HYPERRL_STAND_IN_STABILIZER_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#define RATE_MAIN_LOOP 1000
#define STABILIZER_NR_OF_MOTORS 4

typedef uint32_t stabilizerStep_t;

typedef struct {
    float x, y, z;
} Axis3f;

typedef struct {
    uint32_t timestamp;
    float x, y, z;
} point_t;
typedef point_t velocity_t;
typedef point_t acc_t;

typedef struct {
    uint32_t timestamp;
    float roll, pitch, yaw; /* deg */
} attitude_t;

typedef struct {
    float x, y, z, w;
} quaternion_t;

typedef struct {
    Axis3f acc;  /* G */
    Axis3f gyro; /* deg/s */
} sensorData_t;

typedef struct {
    attitude_t attitude; /* with the pitch of the other sign */
    quaternion_t attitudeQuaternion;
    point_t position;    /* m */
    velocity_t velocity; /* m/s, in the world's frame */
    acc_t acc;
} state_t;

typedef enum { controlModeLegacy = 0, controlModeForceTorque = 1, controlModeForce = 2 } control_mode_t;

typedef struct {
    union {
        struct {
            int16_t roll, pitch, yaw;
            float thrust;
        };
        float normalizedForces[STABILIZER_NR_OF_MOTORS]; /* from 0 to 1 */
    };
    control_mode_t controlMode;
} control_t;

typedef enum { modeDisable = 0, modeAbs, modeVelocity } stab_mode_t;

typedef struct {
    uint32_t timestamp; /* in ticks */
    attitude_t attitude;
    attitude_t attitudeRate;
    quaternion_t attitudeQuaternion;
    float thrust;
    point_t position;
    velocity_t velocity;
    acc_t acceleration;
    bool velocity_body; /* whether the velocity is in the body's frame */
    struct {
        stab_mode_t x, y, z, roll, pitch, yaw, quat;
    } mode;
} setpoint_t;

#endif
