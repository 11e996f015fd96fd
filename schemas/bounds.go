package schemas

import (
	"fmt"
	"maps"
	"regexp/syntax"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v5"
)

const (
	// maxSchemaBytes bounds the text of a schema file, to what fits into a message of a server with default settings.
	maxSchemaBytes = 1 << 20
	// maxSchemaValues bounds the values in a schema file.
	maxSchemaValues = 100_000
	// maxEnum bounds the values of one enum: each is compared.
	maxEnum = 10_000
	// maxPattern and maxProgram bound regular expressions: their bytes, and the instructions that they come to. Matching takes time
	// in proportion to instructions times characters.
	maxPattern = 4096
	maxProgram = 10_000
	// maxApplied bounds how many schemas one schema applies to the same value.
	maxApplied = 10_000
)

// checkText looks for what a schema must not have, before the library compiles it.
func checkText(data []byte, text any) error {
	if len(data) > maxSchemaBytes {
		return fmt.Errorf("it has %d bytes, more than %d", len(data), maxSchemaBytes)
	}
	c := textCheck{}
	return c.check(text, "")
}

type textCheck struct{ values int }

func (c *textCheck) check(v any, at string) error {
	if c.values++; c.values > maxSchemaValues {
		return fmt.Errorf("it has more than %d values", maxSchemaValues)
	}
	switch v := v.(type) {
	case []any:
		for _, item := range v {
			if err := c.check(item, at); err != nil {
				return err
			}
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			if err := checkKeyword(name, v[name]); err != nil {
				return fmt.Errorf("%s/%s: %w", at, name, err)
			}
			if err := c.check(v[name], at+"/"+name); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkKeyword(name string, v any) error {
	switch v := v.(type) {
	case string:
		if name == "pattern" {
			return checkPattern(v)
		}
	case []any:
		if name == "enum" && len(v) > maxEnum {
			return fmt.Errorf("it lists %d values, more than %d", len(v), maxEnum)
		}
	case map[string]any:
		if name == "patternProperties" {
			for _, pattern := range slices.Sorted(maps.Keys(v)) {
				if err := checkPattern(pattern); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkPattern leaves what is no regular expression to the library.
func checkPattern(pattern string) error {
	if len(pattern) > maxPattern {
		return fmt.Errorf("the pattern has %d bytes, more than %d", len(pattern), maxPattern)
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return nil
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return nil
	}
	if len(program.Inst) > maxProgram {
		return fmt.Errorf("the pattern comes to %d instructions, more than %d: repeat less", len(program.Inst), maxProgram)
	}
	return nil
}

// checkCompiled looks at what only the compiled schema shows.
func checkCompiled(root *jsonschema.Schema) (costly bool, err error) {
	seen := map[*jsonschema.Schema]bool{}
	todo := []*jsonschema.Schema{root}
	sizes := map[*jsonschema.Schema]int{}
	for len(todo) > 0 {
		s := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if s == nil || seen[s] {
			continue
		}
		seen[s] = true
		if s.Draft != jsonschema.Draft7 && s.Draft != jsonschema.Draft2020 {
			return false, fmt.Errorf("its $schema %s is neither draft 7 (http://json-schema.org/draft-07/schema#) nor 2020-12 (https://json-schema.org/draft/2020-12/schema)", s.Draft.URL())
		}
		if s.Format != "" && jsonschema.Formats[s.Format] == nil {
			return false, fmt.Errorf("%s: the format %q is none that is checked: leave it out, or say it with a pattern", ruleOf(s, "format"), shorten(s.Format))
		}
		if n := applied(s, sizes); n > maxApplied {
			return false, fmt.Errorf("%s applies %d schemas or more to the same value, more than %d", ruleOf(s, ""), n, maxApplied)
		}
		costly = costly || len(s.Enum) > 100 || len(s.AllOf)+len(s.AnyOf)+len(s.OneOf) > 0 || s.Ref != nil || s.If != nil || len(s.DependentSchemas) > 0
		todo = append(todo, appliedInPlace(s)...)
		todo = append(todo, appliedBelow(s)...)
	}
	return costly, nil
}

// applied counts the schemas that s applies to one value, itself included.
func applied(s *jsonschema.Schema, sizes map[*jsonschema.Schema]int) int {
	if n, ok := sizes[s]; ok {
		return n
	}
	sizes[s] = maxApplied // it leads back to itself
	n := 1
	for _, sub := range appliedInPlace(s) {
		n = min(n+applied(sub, sizes), maxApplied+1)
	}
	sizes[s] = n
	return n
}

// appliedBelow are the schemas that s applies to parts of the value.
func appliedBelow(s *jsonschema.Schema) []*jsonschema.Schema {
	all := slices.Collect(maps.Values(s.Properties))
	all = slices.AppendSeq(all, maps.Values(s.PatternProperties))
	all = append(all, s.PropertyNames, s.UnevaluatedProperties, s.Contains, s.UnevaluatedItems, s.Items2020)
	all = append(all, s.PrefixItems...)
	for _, v := range []any{s.AdditionalProperties, s.AdditionalItems, s.Items} {
		switch v := v.(type) {
		case *jsonschema.Schema:
			all = append(all, v)
		case []*jsonschema.Schema:
			all = append(all, v...)
		}
	}
	return slices.DeleteFunc(all, func(s *jsonschema.Schema) bool { return s == nil })
}
