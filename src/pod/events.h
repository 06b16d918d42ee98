/* SPDX-License-Identifier: Apache-2.0 */
/* events - what GetContainerEvents tells (kubelet's evented PLEG): each change of a visible sandbox or container, with
 * the pod's status and that of all its containers at this moment. Called where the change is made, under the write lock
 * of pods->lock, so that events have the order of the changes. A sandbox is told of under its own id. Free of cost
 * while nobody listens. Private to pod/. */
#pragma once
#include "pod/registry.h"

void event_sandbox_made(struct sandbox *s);  /* it has become visible: CREATED, STARTED */
void event_sandbox_phase(struct sandbox *s); /* it stopped, or died: STOPPED, once */
void event_sandbox_gone(struct sandbox *s);  /* about to become invisible: DELETED */
void event_container_made(struct container *c);
void event_container_phase(struct container *c); /* STARTED, STOPPED */
void event_container_gone(struct container *c);  /* taken out of its pod, about to become invisible */
