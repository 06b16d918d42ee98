#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""test-proto-against-spec - cri.proto says what the table of wire facts says, no more and no less.

usage: test-proto-against-spec.py CRI.PROTO CRI-V1.TSV     (exit 77, "skipped", without the table)

Compares what protoc makes of the file, so that the comparison has no parser of its own to be wrong.
"""
import os
import subprocess
import sys
import tempfile

try:
    from google.protobuf import descriptor_pb2
except ImportError:
    print("python3-protobuf is not installed: skipped")
    sys.exit(77)

TYPES = {
    1: "double", 3: "int64", 4: "uint64", 5: "int32", 8: "bool", 9: "string", 12: "bytes", 13: "uint32",
}


def facts_of_table(path):
    facts = set()
    with open(path, encoding="utf-8") as table:
        for line in table:
            row = line.rstrip("\n").split("\t")
            if line.startswith("#"):
                continue
            row += [""] * (7 - len(row))
            kind, owner, name, number, type_, flag = row[:6]
            if kind == "field":
                # The nested enum is written without its owner in the table's type column.
                facts.add((kind, owner, name, int(number), type_, flag == "deprecated"))
            elif kind == "rpc":
                facts.add((kind, owner, name, number, type_, flag))
            elif kind == "enumval":
                facts.add((kind, owner, name, int(number)))
            elif kind in ("message", "enum", "service", "package"):
                facts.add((kind, owner))
            else:
                sys.exit(f"a row of a kind that this test does not know: {kind}")
    return facts


def short(type_name):
    return type_name.removeprefix(".runtime.v1.")


def type_of(field, message):
    maps = {n.name: n for n in message.nested_type if n.options.map_entry}
    name = short(field.type_name)
    if name.startswith(message.name + ".") and name.split(".")[1] in maps:
        key, value = maps[name.split(".")[1]].field
        return f"map<{TYPES[key.type]},{TYPES[value.type]}>"
    base = TYPES.get(field.type) or name.removeprefix(message.name + ".")
    return ("repeated " if field.label == field.LABEL_REPEATED else "") + base


def facts_of_proto(path):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "set")
        subprocess.run(["protoc", "--descriptor_set_out=" + out, "--proto_path=" + os.path.dirname(path), path], check=True)
        with open(out, "rb") as f:
            file = descriptor_pb2.FileDescriptorSet.FromString(f.read()).file[0]
    facts = {("package", file.package)}

    def add_enum(enum, name):
        facts.add(("enum", name))
        facts.update(("enumval", name, v.name, v.number) for v in enum.value)

    for enum in file.enum_type:
        add_enum(enum, enum.name)
    for message in file.message_type:
        facts.add(("message", message.name))
        for enum in message.enum_type:
            add_enum(enum, f"{message.name}.{enum.name}")
        for f in message.field:
            facts.add(("field", message.name, f.name, f.number, type_of(f, message), f.options.deprecated))
    for service in file.service:
        facts.add(("service", service.name))
        for m in service.method:
            assert not m.client_streaming
            mode = "server-stream" if m.server_streaming else "unary"
            facts.add(("rpc", service.name, m.name, short(m.input_type), short(m.output_type), mode))
    return facts


def main():
    proto, table = os.path.abspath(sys.argv[1]), sys.argv[2]
    if not os.path.exists(table):
        print("no table of wire facts here: skipped")
        return 77
    ours, theirs = facts_of_proto(proto), facts_of_table(table)
    for fact in sorted(theirs - ours, key=str):
        print("missing or different:", *fact)
    for fact in sorted(ours - theirs, key=str):
        print("not in the table:", *fact)
    print(f"{len(ours & theirs)} facts agree")
    return 0 if ours == theirs else 1


if __name__ == "__main__":
    sys.exit(main())
