/* host.c: what the firmware does around a controller, as far as a computer needs it.
 *
 * The numbers of one call come and go as plain arrays, so that whoever loads this need not know the layout of
 * the firmware's structures. The PID controller only counts its calls. */
#include <string.h>

#include "FreeRTOS.h"
#include "controller.h"
#include "controller_pid.h"
#include "hyperrl_controller.h"
#include "task.h"

typedef struct {
    float position[3], velocity[3]; /* m and m/s, the world's frame */
    float quaternion[4];            /* x, y, z, w */
    float gyro[3];                  /* deg/s, the body's frame */
    float setpoint_position[3], setpoint_velocity[3];
    float setpoint_yaw;           /* deg */
    float setpoint_quaternion[4]; /* x, y, z, w */
    float setpoint_thrust;
    int32_t modes[7]; /* x, y, z, roll, pitch, yaw, quat */
    int32_t is_velocity_of_body;
    uint32_t timestamp;
} host_input;

extern void *const host_param_enable;

static uint32_t now;
static uint32_t pid_calls, pid_resets;

TickType_t xTaskGetTickCount(void)
{
    return now;
}

void vTaskDelay(const TickType_t ticks)
{
    now += ticks;
}

void controllerPidInit(void)
{
}

bool controllerPidTest(void)
{
    return true;
}

void controllerPid(control_t *control, const setpoint_t *setpoint, const sensorData_t *sensors,
                   const state_t *state, const stabilizerStep_t stabilizerStep)
{
    (void)sensors;
    (void)state;
    if (stabilizerStep == 0 && setpoint->thrust == 0.0f && setpoint->mode.z == modeDisable) {
        ++pid_resets;
    } else {
        ++pid_calls;
    }
    memset(control, 0, sizeof *control);
    control->controlMode = controlModeLegacy;
}

static void fill(const host_input *input, setpoint_t *setpoint, sensorData_t *sensors, state_t *state)
{
    stab_mode_t *const modes[7] = {&setpoint->mode.x,     &setpoint->mode.y,   &setpoint->mode.z,
                                   &setpoint->mode.roll,  &setpoint->mode.pitch, &setpoint->mode.yaw,
                                   &setpoint->mode.quat};
    memset(setpoint, 0, sizeof *setpoint);
    memset(sensors, 0, sizeof *sensors);
    memset(state, 0, sizeof *state);
    state->position = (point_t){0, input->position[0], input->position[1], input->position[2]};
    state->velocity = (velocity_t){0, input->velocity[0], input->velocity[1], input->velocity[2]};
    state->attitudeQuaternion = (quaternion_t){input->quaternion[0], input->quaternion[1],
                                               input->quaternion[2], input->quaternion[3]};
    sensors->gyro = (Axis3f){input->gyro[0], input->gyro[1], input->gyro[2]};
    setpoint->timestamp = input->timestamp;
    setpoint->position = (point_t){0, input->setpoint_position[0], input->setpoint_position[1],
                                   input->setpoint_position[2]};
    setpoint->velocity = (velocity_t){0, input->setpoint_velocity[0], input->setpoint_velocity[1],
                                      input->setpoint_velocity[2]};
    setpoint->attitude.yaw = input->setpoint_yaw;
    setpoint->attitudeQuaternion =
        (quaternion_t){input->setpoint_quaternion[0], input->setpoint_quaternion[1],
                       input->setpoint_quaternion[2], input->setpoint_quaternion[3]};
    setpoint->thrust = input->setpoint_thrust;
    setpoint->velocity_body = input->is_velocity_of_body != 0;
    for (int i = 0; i < 7; ++i) {
        *modes[i] = (stab_mode_t)input->modes[i];
    }
}

void host_start(void)
{
    now = pid_calls = pid_resets = 0;
    *(uint8_t *)host_param_enable = 0;
    controllerOutOfTreeInit();
}

int host_test(void)
{
    return controllerOutOfTreeTest();
}

void host_enable(int on)
{
    *(uint8_t *)host_param_enable = (uint8_t)(on != 0);
}

void host_observe(const host_input *input, float *observation)
{
    setpoint_t setpoint;
    sensorData_t sensors;
    state_t state;
    fill(input, &setpoint, &sensors, &state);
    hyperrlObserve(&setpoint, &sensors, &state, observation);
}

/* One call of the stabiliser's loop. The shares of full thrust are zero where they are not the policy's. */
void host_step(const host_input *input, uint32_t step, uint32_t tick, float *shares)
{
    setpoint_t setpoint;
    sensorData_t sensors;
    state_t state;
    static control_t control;
    fill(input, &setpoint, &sensors, &state);
    now = tick;
    controllerOutOfTree(&control, &setpoint, &sensors, &state, step);
    for (int motor = 0; motor < STABILIZER_NR_OF_MOTORS; ++motor) {
        shares[motor] = control.controlMode == controlModeForce ? control.normalizedForces[motor] : 0.0f;
    }
}

int host_mode(void)
{
    return (int)hyperrlGetMode();
}

int host_reason(void)
{
    return (int)hyperrlGetReason();
}

uint32_t host_pid_calls(void)
{
    return pid_calls;
}

uint32_t host_pid_resets(void)
{
    return pid_resets;
}
