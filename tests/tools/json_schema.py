"""As much of JSON Schema as docs/pmemstream-bench.schema.json uses. A keyword that is not known here is an error: it
would else be a rule that nothing checks."""
import re

NOTES = {"$schema", "$defs", "title", "description"}
TYPES = {
    "object": lambda v: isinstance(v, dict),
    "array": lambda v: isinstance(v, list),
    "string": lambda v: isinstance(v, str),
    "boolean": lambda v: isinstance(v, bool),
    "null": lambda v: v is None,
    "integer": lambda v: isinstance(v, int) and not isinstance(v, bool),
    "number": lambda v: isinstance(v, (int, float)) and not isinstance(v, bool),
}


def violations(value, schema, root, where="$"):
    """Sentences, one for each rule that the value breaks."""
    found = []

    def broken(what):
        found.append(f"{where}: {what}: {str(value)[:80]}")

    for keyword, rule in schema.items():
        if keyword in NOTES or keyword == "additionalProperties":
            continue
        if keyword == "$ref":
            assert rule.startswith("#/$defs/"), rule
            found += violations(value, root["$defs"][rule[len("#/$defs/"):]], root, where)
        elif keyword == "type":
            if not TYPES[rule](value):
                broken(f"is no {rule}")
                return found
        elif keyword == "const":
            if value != rule:
                broken(f"is not {rule}")
        elif keyword == "enum":
            if value not in rule:
                broken(f"is none of {rule}")
        elif keyword == "anyOf":
            if all(violations(value, one, root, where) for one in rule):
                broken("fits none of the choices")
        elif keyword == "pattern":
            if not re.search(rule, value):
                broken(f"does not match {rule}")
        elif keyword == "minLength":
            if len(value) < rule:
                broken("is too short")
        elif keyword == "minItems":
            if len(value) < rule:
                broken("has too few items")
        elif keyword == "maxItems":
            if len(value) > rule:
                broken("has too many items")
        elif keyword == "minimum":
            if not value >= rule:
                broken(f"is less than {rule}")
        elif keyword == "exclusiveMinimum":
            if not value > rule:
                broken(f"is not more than {rule}")
        elif keyword == "items":
            for i, item in enumerate(value):
                found += violations(item, rule, root, f"{where}[{i}]")
        elif keyword == "required":
            for name in rule:
                if name not in value:
                    broken(f"lacks {name}")
        elif keyword == "properties":
            for name, item in value.items():
                if name in rule:
                    found += violations(item, rule[name], root, f"{where}.{name}")
                elif schema.get("additionalProperties", True) is False:
                    broken(f"has {name}, which the schema does not know")
        else:
            raise SystemExit(f"the schema uses {keyword}, which this check does not know")
    return found
