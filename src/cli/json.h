/* SPDX-License-Identifier: Apache-2.0 */
/* json - protobuf messages as JSON, for -o json. The form is fixed by the .proto files: fields by their names there
 * (snake_case), enums by name, 64-bit numbers as numbers, maps as objects, bytes as text (Latin-1 where not UTF-8), and
 * every field present, so that scripts need not ask. Sub-messages that are not set are null. */
#pragma once
#include <jansson.h>
#include <protobuf-c/protobuf-c.h>

json_t *json_of_message(const ProtobufCMessage *message); /* caller owns */
json_t *json_of_messages(const void *messages, size_t n); /* of an array of pointers */
void json_print(json_t *value);                           /* to stdout, indented; takes it */
