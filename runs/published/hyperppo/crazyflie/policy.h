/* policy.h: a policy as plain C99 (also C++), written by hyperrl. Generated code: MIT licence.
 *
 * 18-16-4, float32 weights: relu, identity; clip to bounds.
 *
 * observation: name [unit]
 *     0 position_error_x [m]
 *     1 position_error_y [m]
 *     2 position_error_z [m]
 *     3 velocity_error_x [m/s]
 *     4 velocity_error_y [m/s]
 *     5 velocity_error_z [m/s]
 *     6 rotation_xx [1]
 *     7 rotation_xy [1]
 *     8 rotation_xz [1]
 *     9 rotation_yx [1]
 *    10 rotation_yy [1]
 *    11 rotation_yz [1]
 *    12 rotation_zx [1]
 *    13 rotation_zy [1]
 *    14 rotation_zz [1]
 *    15 angular_rate_x [rad/s]
 *    16 angular_rate_y [rad/s]
 *    17 angular_rate_z [rad/s]
 * action: name [unit], from low to high
 *     0 thrust_m1 [1], -1 to 1
 *     1 thrust_m2 [1], -1 to 1
 *     2 thrust_m3 [1], -1 to 1
 *     3 thrust_m4 [1], -1 to 1
 * world frame: right-handed, z up; positions and velocities are those of the centre of mass
 * body frame: x forward, y left, z up
 * errors: the robot's value minus the setpoint's, in the world frame
 * rotation: matrix from the body frame to the world frame, row by row; MuJoCo's quaternions behind it are (w, x, y, z)
 * angular rate: in the body frame, rad/s
 * setpoint heading: the world's x axis, always
 * motor order: M1 front right, M2 back right, M3 back left, M4 front left, as in Bitcraze's firmware
 * motor direction: seen from above M1 and M3 turn counter-clockwise, M2 and M4 clockwise
 * thrust: -1 is no thrust and 1 is 0.1125 N for one motor, linear in between
 */
#ifndef POLICY_H
#define POLICY_H

#define POLICY_OBSERVATIONS 18
#define POLICY_ACTIONS 4
#define POLICY_CONTROL_PERIOD_US 10000L /* between two actions, as in training */
#define POLICY_PARAMETERS 372L
#define POLICY_MACS 352L
#define POLICY_FINGERPRINT "6aaeb875dc11addc16f389381f1dc97f6fa4fa61c4d057157323be1edd01349e"

#ifdef __cplusplus
extern "C" {
#endif

/* Compute the action of one observation, in the order and the units above, not normalised.
 * If an observation is NaN or infinite, every action is NaN. The two arrays must not overlap.
 * Not reentrant: buffers are static, so that a task needs next to no stack. */
void policy_act(const float observation[POLICY_OBSERVATIONS], float action[POLICY_ACTIONS]);

/* Return 1 if no observation is NaN or infinite, else 0. */
int policy_observation_is_finite(const float observation[POLICY_OBSERVATIONS]);

/* In policy_self_test.c, which is needed for nothing else: compute the actions of embedded observations.
 * Return 0 if none differs by more than POLICY_SELF_TEST_TOLERANCE of half its range, else 1.
 * The largest difference is stored where the pointer is not null. */
#define POLICY_SELF_TEST_TOLERANCE 1.0e-04f
int policy_self_test(float *largest_error);

#ifdef __cplusplus
}
#endif

#endif
