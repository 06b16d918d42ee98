"""Checks of parameters, with the texts of Proxmox. Values come as strings, or of JSON's types from a JSON body."""

import re

import formats

MISSING = 'property is missing and it is not optional'
UNKNOWN = 'property is not defined in schema and the schema does not allow additional properties'


def check(schema, operation, given):
    """{parameter: text} of all that is wrong with what was given."""
    errors = {}
    expected = dict(operation.parameters)
    if operation.type_key:
        expected.update(operation.variants.get(given.get(operation.type_key), {}))
    for name, parameter in expected.items():
        if given.get(name) is None and not parameter.optional:
            errors[name] = MISSING
    for name, value in given.items():
        if value is None:
            continue
        parameter = operation.find(name, given)
        if parameter is None:
            errors[name] = UNKNOWN
            continue
        if text := value_error(schema, name, parameter, value):
            errors[name] = text
        if parameter.requires and given.get(parameter.requires) is None:
            errors[parameter.requires] = f"missing property - '{name}' requires this property"
    return errors


def value_error(schema, name, parameter, value):
    """What is wrong with one value, or None."""
    if parameter.type == 'array':
        if not isinstance(value, list):
            return "type check ('array') failed"
        return next(filter(None, (text_error(schema, name, parameter, item) for item in value)), None)
    if isinstance(value, (list, dict)):
        return f"type check ('{parameter.type}') failed - got {'ARRAY' if isinstance(value, list) else 'HASH'}"
    if isinstance(value, bool):
        wrong = f"type check ('{parameter.type}') failed - got JSON::PP::Boolean"
        return None if parameter.type == 'boolean' else wrong
    return text_error(schema, name, parameter, str(value))


def text_error(schema, name, parameter, text):
    if (shape := {'boolean': '[01]', 'integer': r'[+-]?\d+', 'number':
                  r'[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?'}.get(parameter.type)) and not re.fullmatch(shape, text):
        return f"type check ('{parameter.type}') failed - got '{text}'"
    if parameter.keys:
        return property_string_error(schema, name, schema.formats[parameter.keys], text)
    if parameter.format:
        try:
            formats.check(parameter.format, text)
        except ValueError as e:
            return f'invalid format - {e}\n'
    return size_error(parameter, text)


def size_error(parameter, text):
    # Perl's $ lets one newline pass at the end.
    if parameter.pattern and not re.match(f'^(?:{parameter.pattern})$', text):
        return 'value does not match the regex pattern'
    if parameter.max_length is not None and len(text) > parameter.max_length:
        return f'value may only be {parameter.max_length} characters long'
    if parameter.min_length is not None and len(text) < parameter.min_length:
        return f'value must be at least {parameter.min_length} characters long'
    if parameter.maximum is not None and float(text) > parameter.maximum:
        return f'value must have a maximum value of {parameter.maximum}'
    if parameter.minimum is not None and float(text) < parameter.minimum:
        return f'value must have a minimum value of {parameter.minimum}'
    if parameter.one_of and text not in parameter.one_of:
        return f"value '{text}' does not have a value in the enumeration '{', '.join(parameter.one_of)}'"
    return None


BOOLEANS = {**dict.fromkeys(('1', 'on', 'yes', 'true'), '1'), **dict.fromkeys(('0', 'off', 'no', 'false'), '0')}


def parse(keys, text):
    """The values of a property string by key; ValueError(text) for one that is none."""
    found = {}
    bare = next((name for name, parameter in keys.items() if parameter.bare), None)
    for part in text.split(','):
        if not part.strip():
            continue
        key, equals, value = part.partition('=')
        if not equals:
            if not bare:
                raise ValueError('value without key, but schema does not define a default key')
            key, value = bare, part
        elif not key or not value:
            raise ValueError('missing key in comma-separated list property')
        elif key not in keys:
            raise ValueError(f'invalid key in comma-separated list property: {key}')
        if key in found:
            raise ValueError(f'duplicate key in comma-separated list property: {key}')
        found[key] = BOOLEANS.get(value.lower(), value) if keys[key].type == 'boolean' else value
    return found


def show(keys, values):
    """Values as Proxmox writes them: the bare key, what must be there, the rest; each by name."""
    def place(key):
        return not keys[key].bare, keys[key].optional, key
    return ','.join(values[key] if keys[key].bare else f'{key}={values[key]}' for key in sorted(values, key=place))


def property_string_error(schema, name, keys, text):
    try:
        found = parse(keys, text)
    except ValueError as e:
        return f'invalid format - {e}\n'
    errors = {key: MISSING for key, parameter in keys.items() if not parameter.optional and key not in found}
    errors.update({key: wrong for key, value in found.items() if (wrong := value_error(schema, key, keys[key], value))})
    if not errors:
        return None
    return 'invalid format - format error\n' + ''.join(f'{name}.{key}: {wrong}\n' for key,
                                                       wrong in sorted(errors.items()))
