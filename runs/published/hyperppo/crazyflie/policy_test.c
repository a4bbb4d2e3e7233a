/* policy_test.c: runs the self-test on a computer.
 *
 *     cc -std=c99 -O2 policy.c policy_self_test.c policy_test.c -lm -o policy_test && ./policy_test
 */
#include "policy.h"
#include <stdio.h>

int main(void)
{
    float largest = 0.0f;
    const int failed = policy_self_test(&largest);
    printf("%s: largest error %g of half the action range, tolerance %g\n", failed ? "FAILED" : "passed",
           (double)largest, (double)POLICY_SELF_TEST_TOLERANCE);
    return failed;
}
