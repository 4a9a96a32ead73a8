"""An OpenAPI 3.0 document as data: its operations, references, and whether a value fits a schema.

Of JSON Schema it knows just what docs/api.yaml uses, and refuses what it does not know. For tools/api-docs,
and for tests in the emulated host, which has only Python's own library.
"""

import re

METHODS = ("get", "put", "patch", "delete")
TYPES = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int}
KEYWORDS = {"$ref", "type", "nullable", "enum", "required", "properties", "additionalProperties", "items", "pattern",
            "minimum", "maximum", "multipleOf", "minLength", "maxLength", "minItems", "maxItems", "minProperties",
            "maxProperties", "allOf", "anyOf", "description"}


class Document:
    def __init__(self, data):
        self.data = data

    def resolve(self, node):
        """What a node is, or what it refers to."""
        while isinstance(node, dict) and "$ref" in node:
            target = self.data
            if not node["$ref"].startswith("#/"):
                raise ValueError(f"reference out of the document: {node['$ref']}")
            for part in node["$ref"][2:].split("/"):
                if part not in target:
                    raise ValueError(f"reference to nothing: {node['$ref']}")
                target = target[part]
            node = target
        return node

    def operations(self):
        """(method, path, operation), in the document's order."""
        for path, item in self.data["paths"].items():
            for method in item:
                if method in METHODS:
                    yield method, path, item[method]

    def operation(self, method, path):
        return self.data["paths"][path][method.lower()]

    def content(self, node):
        """The schema of a requestBody or response, and its example; None: there is none."""
        media = self.resolve(node).get("content", {}).get("application/json", {})
        return media.get("schema"), media.get("example")

    def problems(self, schema, value, where="value"):
        """What is wrong with a value, as sentences."""
        schema = self.resolve(schema)
        if value is None and schema.get("nullable"):
            return
        for part in schema.get("allOf", ()):
            yield from self.problems(part, value, where)
        if "anyOf" in schema and all(any(self.problems(part, value)) for part in schema["anyOf"]):
            yield f"{where}: fits none of the possibilities: {value!r}"
        kind = schema.get("type")
        if kind and (not isinstance(value, TYPES[kind]) or (kind == "integer" and isinstance(value, bool))):
            yield f"{where}: {value!r} is not of type {kind}"
            return
        if "enum" in schema and value not in schema["enum"]:
            yield f"{where}: {value!r} is none of {schema['enum']}"
        if isinstance(value, str):
            yield from self.string_problems(schema, value, where)
        elif isinstance(value, int):
            yield from self.number_problems(schema, value, where)
        elif isinstance(value, list):
            yield from self.size_problems(schema, "Items", value, where)
            for i, item in enumerate(value):
                yield from self.problems(schema.get("items", {}), item, f"{where}[{i}]")
        elif isinstance(value, dict):
            yield from self.object_problems(schema, value, where)

    @staticmethod
    def size_problems(schema, what, value, where):
        if len(value) < schema.get(f"min{what}", 0) or len(value) > schema.get(f"max{what}", len(value)):
            yield f"{where}: {len(value)} is not its length"

    def string_problems(self, schema, value, where):
        yield from self.size_problems(schema, "Length", value, where)
        if "pattern" in schema and not re.search(schema["pattern"], value):
            yield f"{where}: {value!r} is not like {schema['pattern']}"

    @staticmethod
    def number_problems(schema, value, where):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            yield f"{where}: {value} is out of range"
        if value % schema.get("multipleOf", 1):
            yield f"{where}: {value} is not a multiple of {schema['multipleOf']}"

    def object_problems(self, schema, value, where):
        yield from self.size_problems(schema, "Properties", value, where)
        for name in schema.get("required", ()):
            if name not in value:
                yield f"{where}: {name} is missing"
        others = schema.get("additionalProperties", True)
        for name, item in value.items():
            if name in schema.get("properties", {}):
                yield from self.problems(schema["properties"][name], item, f"{where}.{name}")
            elif others is False:
                yield f"{where}: {name} is unknown"
            elif isinstance(others, dict):
                yield from self.problems(others, item, f"{where}.{name}")
