/* A stand-in, see stabilizer_types.h. */
#ifndef HYPERRL_STAND_IN_TASK_H
#define HYPERRL_STAND_IN_TASK_H

#include "FreeRTOS.h"

TickType_t xTaskGetTickCount(void);
void vTaskDelay(const TickType_t ticks);

#endif
