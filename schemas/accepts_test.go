package schemas_test

import (
	stdjson "encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rossby-streams/rossby/schemas"
)

func parse(t require.TestingT, name, text string) *schemas.Schema {
	s, err := schemas.Parse(name, []byte(text))
	require.NoError(t, err, text)
	return s
}

// TestAcceptsAllOf has pairs of schemas, and what the second one is said to refuse of the first; nothing if it accepts all.
func TestAcceptsAllOf(t *testing.T) {
	const tree = `{"$ref":"#/$defs/n","$defs":{"n":{"type":"object","properties":{"v":{"type":"%s"},"c":{"type":"array","items":{"$ref":"#/$defs/n"}}}}}}`
	for _, c := range []struct{ all, s, want string }{
		{`{}`, `{}`, ``},
		{`{"type":"string"}`, `{}`, ``},
		{`{}`, `{"type":"string"}`, `the document may be null or false or true or a number or an array or an object (type)`},
		{`false`, `{"type":"string"}`, ``},
		{`{"type":"integer"}`, `{"type":"number"}`, ``},
		{`{"type":"number"}`, `{"type":"integer"}`, `may be a number with a fraction (type)`},
		{`{"type":"number","multipleOf":2}`, `{"type":"integer","multipleOf":0.5}`, ``},
		{`{"type":"string"}`, `{"type":["string","null"]}`, ``},
		{`{"type":["string","null"]}`, `{"type":"string"}`, `may be null (type)`},
		{`{"type":"string"}`, `{"anyOf":[{"type":"null"},{"type":"string"}]}`, ``},
		{`{"type":["string","null"]}`, `{"anyOf":[{"type":"null"},{"type":"string"}]}`, ``},
		{`{"anyOf":[{"type":"null"},{"type":"string"}]}`, `{"type":["string","null"]}`, ``},
		{`{"type":["string","null"]}`, `{"oneOf":[{"type":"null"},{"type":"string"}]}`, ``},
		{`{"type":["string","null"]}`, `{"anyOf":[{"type":"null"},{"type":"string","minLength":1}]}`, `may have fewer than 1 characters (anyOf/1/minLength)`},
		{`{"enum":["a","b"]}`, `{"enum":["a","b","c"]}`, ``},
		{`{"enum":["a","b","c"]}`, `{"enum":["a","b"]}`, `may be "c" (enum)`},
		{`{"const":1.0}`, `{"type":"integer","minimum":1}`, ``},
		{`{"type":"string"}`, `{"enum":["a"]}`, `may be something other than the values listed (enum)`},
		{`{"type":"boolean"}`, `{"enum":[true,false]}`, ``},
		{`{"minimum":1}`, `{"minimum":0}`, ``},
		{`{"minimum":0}`, `{"minimum":1}`, `may be less than 1 (minimum)`},
		{`{"exclusiveMinimum":0,"type":"integer"}`, `{"minimum":1}`, ``},
		{`{"exclusiveMinimum":0}`, `{"minimum":0}`, ``},
		{`{"maximum":9}`, `{"exclusiveMaximum":9}`, `may be 9 or more (exclusiveMaximum)`},
		{`{"type":"string","minLength":2,"maxLength":3}`, `{"minLength":1,"maxLength":4}`, ``},
		{`{"type":"string","maxLength":5}`, `{"maxLength":4}`, `may have more than 4 characters (maxLength)`},
		{`{"type":"string","pattern":"^a"}`, `{"pattern":"^a"}`, ``},
		{`{"type":"string","pattern":"^ab"}`, `{"pattern":"^a"}`, `cannot be decided: whether all that matches ^ab matches ^a (pattern)`},
		{`{"type":"string"}`, `{"pattern":"^a"}`, `may not match ^a (pattern)`},
		{`{"type":"string"}`, `{"format":"date"}`, `may be no date (format)`},
		{`{"type":"string","format":"date"}`, `{"format":"date"}`, ``},
		// Objects.
		{`{"type":"object","required":["a","b"]}`, `{"required":["a"]}`, ``},
		{`{"type":"object","required":["a"]}`, `{"required":["a","b"]}`, `/b may be missing (required)`},
		{`{"type":"object","properties":{"a":{"type":"integer"}}}`, `{"properties":{"a":{"type":"number"}}}`, ``},
		{`{"type":"object","properties":{"a":{"type":"number"}}}`, `{"properties":{"a":{"type":"string"}}}`, `/a may be a number (properties/a/type)`},
		{`{"type":"object"}`, `{"properties":{"a":{"type":"string"}}}`, `/a may be null or false or true or a number or an array or an object (properties/a/type)`},
		{`{"type":"object","additionalProperties":false}`, `{"properties":{"a":{"type":"string"}},"additionalProperties":false}`, ``},
		{`{"type":"object","properties":{"a":{}},"additionalProperties":false}`, `{"additionalProperties":false}`, `/a may be there (additionalProperties)`},
		{`{"type":"object"}`, `{"additionalProperties":false}`, `/* may be there (additionalProperties)`},
		{`{"type":"object","additionalProperties":{"type":"integer"}}`, `{"properties":{"a":{"type":"number"}},"additionalProperties":{"type":"number"}}`, ``},
		{`{"type":"object","patternProperties":{"^x":{"type":"integer"}}}`, `{"patternProperties":{"^x":{"type":"number"}}}`, ``},
		{`{"type":"object","patternProperties":{"^x":{"type":"integer"}},"additionalProperties":false}`, `{"additionalProperties":{"type":"number"}}`, ``},
		{`{"type":"object","patternProperties":{"^x":{"type":"integer"}}}`, `{"properties":{"xy":{"type":"number"}}}`, ``},
		{`{"type":"object","properties":{"a":{}},"additionalProperties":false}`, `{"maxProperties":1}`, ``},
		{`{"type":"object","required":["a"]}`, `{"minProperties":1}`, ``},
		{`{"type":"object","propertyNames":{"maxLength":3}}`, `{"propertyNames":{"maxLength":4}}`, ``},
		{`{"type":"object","properties":{"abc":{}},"additionalProperties":false}`, `{"propertyNames":{"maxLength":3}}`, ``},
		{`{"type":"object","properties":{"abc":{}},"additionalProperties":false}`, `{"propertyNames":{"maxLength":2}}`, `/abc may be there (propertyNames)`},
		{`{"type":"object","required":["a","b"]}`, `{"dependentRequired":{"a":["b"]}}`, ``},
		{`{"type":"object","required":["a"]}`, `{"dependentRequired":{"a":["b"]}}`, `/b may be missing while a is there (dependentRequired)`},
		{`{"type":"object","dependentRequired":{"a":["b"]}}`, `{"dependentRequired":{"a":["b"]}}`, ``},
		{`{"type":"object","properties":{"a":false}}`, `{"dependentRequired":{"a":["b"]}}`, ``},
		{`{"type":"object","required":["a"],"dependentSchemas":{"a":{"required":["c"]}}}`, `{"required":["c"]}`, ``},
		{`{"type":"object","properties":{"a":{}},"unevaluatedProperties":false}`, `{"properties":{"a":{},"b":{}},"unevaluatedProperties":false}`, ``},
		{`{"type":"object","properties":{"a":{},"b":{}},"unevaluatedProperties":false}`, `{"properties":{"a":{}},"unevaluatedProperties":false}`, `/b may be there (unevaluatedProperties)`},
		{`{"type":"object","allOf":[{"properties":{"a":{}}}],"unevaluatedProperties":false}`, `{"type":"object","properties":{"a":{}},"additionalProperties":false}`, ``},
		// Arrays.
		{`{"type":"array","items":{"type":"integer"}}`, `{"items":{"type":"number"}}`, ``},
		{`{"type":"array","items":{"type":"number"}}`, `{"items":{"type":"integer"}}`, `/* may be a number with a fraction (items/type)`},
		{`{"type":"array","prefixItems":[{"type":"integer"}],"items":false}`, `{"items":{"type":"number"},"maxItems":1}`, ``},
		{`{"type":"array","prefixItems":[{"type":"string"}]}`, `{"prefixItems":[{"type":"number"}]}`, `/0 may be a string (prefixItems/0/type)`},
		{`{"type":"array","maxItems":1}`, `{"uniqueItems":true}`, ``},
		{`{"type":"array","minItems":1,"items":{"const":1}}`, `{"contains":{"type":"integer"}}`, ``},
		{`{"type":"array","contains":{"type":"integer"}}`, `{"contains":{"type":"integer"}}`, ``},
		// Draft 7.
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"array","items":[{"type":"integer"}],"additionalItems":false}`, `{"prefixItems":[{"type":"number"}],"items":false}`, ``},
		{`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","required":["a"],"dependencies":{"a":["b"]}}`, `{"required":["b"]}`, ``},
		// References.
		{`{"$ref":"#/$defs/a","$defs":{"a":{"type":"integer"}}}`, `{"type":"number"}`, ``},
		{fmt.Sprintf(tree, "integer"), fmt.Sprintf(tree, "number"), ``},
		{fmt.Sprintf(tree, "number"), fmt.Sprintf(tree, "integer"), `/v may be a number with a fraction ($defs/n/properties/v/type)`},
		// Choices.
		{`{"oneOf":[{"type":"integer"},{"type":"string","maxLength":3}]}`, `{"anyOf":[{"type":"number"},{"type":"string","maxLength":4}]}`, ``},
		{`{"if":{"type":"integer"},"then":{"minimum":1},"else":{"type":"string"}}`, `{"type":["number","string"]}`, ``},
		{`{"type":"integer"}`, `{"not":{"type":"string"}}`, ``},
		{`{"not":{"type":"string"}}`, `{"not":{"type":"string","minLength":1}}`, ``},
		{`{"not":{"type":"string","minLength":1}}`, `{"not":{"type":"string"}}`, `cannot be decided`},
		{`{"type":"object","properties":{"k":{"const":"a"}},"required":["k"]}`,
			`{"oneOf":[{"type":"object","properties":{"k":{"const":"a"}},"required":["k"]},{"type":"object","properties":{"k":{"const":"b"}},"required":["k"]}]}`, ``},
		{`{"$dynamicAnchor":"x","type":"object","properties":{"a":{"$dynamicRef":"#x"}}}`, `{"type":"object"}`, ``},
		{`{"type":"object"}`, `{"properties":{"a":{"$dynamicRef":"#x"}},"$defs":{"y":{"$dynamicAnchor":"x"}}}`, `cannot be decided`},
	} {
		err := parse(t, "s.json", c.s).AcceptsAllOf(parse(t, "all.json", c.all))
		if c.want == "" {
			require.NoError(t, err, "%s\n%s", c.all, c.s)
			continue
		}
		var narrower *schemas.NarrowerError
		require.ErrorAs(t, err, &narrower, "%s\n%s", c.all, c.s)
		require.ErrorContains(t, err, c.want)
		require.Equal(t, strings.Contains(err.Error(), "cannot be decided"), slices.ContainsFunc(narrower.Losses, func(l schemas.Loss) bool { return l.Undecided }), err.Error())
		require.NotContains(t, err.Error(), "\n")
	}
	for _, name := range []string{"metric", "syslog", "alarm", "rules"} {
		s, err := schemas.Builtin(name)
		require.NoError(t, err)
		again, err := schemas.Builtin(name)
		require.NoError(t, err)
		require.NoError(t, s.AcceptsAllOf(again))
	}
}

// Schemas and documents of the property test are made of few names and small values, so that they meet.
var (
	testNames    = rapid.SampledFrom([]string{"a", "b", "ab", "c"})
	testPatterns = rapid.SampledFrom([]string{"^a", "b$", "^c$"})
	testScalars  = rapid.SampledFrom([]any{nil, true, false, 0, 1, 2, 3, -1, 0.5, 1.5, 2.0, "", "a", "ab", "abc", "2026-01-01", "b"})
)

func testDocument(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch kind := rapid.IntRange(0, 5).Draw(t, "kind"); {
		case depth > 0 && kind >= 3:
			return rapid.MapOfN(testNames, testDocument(depth-1), 0, 4).Draw(t, "object")
		case depth > 0 && kind == 2:
			return rapid.SliceOfN(testDocument(depth-1), 0, 3).Draw(t, "array")
		}
		return testScalars.Draw(t, "scalar")
	})
}

func testSchema(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		if rapid.IntRange(0, 19).Draw(t, "boolean") == 0 {
			return rapid.Bool().Draw(t, "always")
		}
		s := map[string]any{}
		for range rapid.IntRange(0, 3).Draw(t, "keywords") {
			addKeyword(t, s, depth)
		}
		return s
	})
}

func addKeyword(t *rapid.T, s map[string]any, depth int) {
	sub := func() any { return testSchema(depth-1).Draw(t, "sub") }
	subs := func() any { return rapid.SliceOfN(testSchema(depth-1), 1, 3).Draw(t, "subs") }
	n := func() any { return rapid.IntRange(0, 3).Draw(t, "n") }
	names := func() any { return rapid.SliceOfNDistinct(testNames, 0, 2, rapid.ID[string]).Draw(t, "names") }
	plain := []func(){
		func() {
			s["type"] = rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"null", "boolean", "integer", "number", "string", "array", "object", "object"}), 1, 3,
				rapid.ID[string]).Draw(t, "types")
		},
		func() { s["type"] = "object" },
		func() { s["enum"] = rapid.SliceOfN(testDocument(1), 1, 3).Draw(t, "enum") },
		func() { s["const"] = testScalars.Draw(t, "const") },
		func() { s["minimum"] = n() },
		func() { s["maximum"] = n() },
		func() { s["exclusiveMinimum"] = n() },
		func() { s["exclusiveMaximum"] = n() },
		func() { s["multipleOf"] = rapid.SampledFrom([]any{0.5, 1, 2, 1.5}).Draw(t, "of") },
		func() { s["minLength"] = n() },
		func() { s["maxLength"] = n() },
		func() { s["pattern"] = testPatterns.Draw(t, "pattern") },
		func() { s["format"] = "date" },
		func() { s["required"] = names() },
		func() { s["minProperties"] = n() },
		func() { s["maxProperties"] = n() },
		func() { s["dependentRequired"] = map[string]any{testNames.Draw(t, "name"): names()} },
		func() { s["minItems"] = n() },
		func() { s["maxItems"] = n() },
		func() { s["uniqueItems"] = true },
		func() { s["additionalProperties"] = false },
		func() { s["unevaluatedProperties"] = false },
		func() { s["unevaluatedItems"] = false },
		func() { s["$ref"] = "#/$defs/" + rapid.SampledFrom([]string{"x", "y"}).Draw(t, "ref") },
	}
	nested := []func(){
		func() { s["properties"] = rapid.MapOfN(testNames, testSchema(depth-1), 1, 3).Draw(t, "properties") },
		func() { s["properties"] = rapid.MapOfN(testNames, testSchema(depth-1), 1, 3).Draw(t, "properties") },
		func() {
			s["patternProperties"] = rapid.MapOfN(testPatterns, testSchema(depth-1), 1, 2).Draw(t, "patterns")
		},
		func() { s["additionalProperties"] = sub() },
		func() { s["unevaluatedProperties"] = sub() },
		func() { s["propertyNames"] = sub() },
		func() { s["dependentSchemas"] = map[string]any{testNames.Draw(t, "name"): sub()} },
		func() { s["items"] = sub() },
		func() { s["prefixItems"] = subs() },
		func() { s["contains"] = sub(); s["minContains"] = n() },
		func() { s["contains"] = sub(); s["maxContains"] = n() },
		func() { s["unevaluatedItems"] = sub() },
		func() { s["allOf"] = subs() },
		func() { s["anyOf"] = subs() },
		func() { s["oneOf"] = subs() },
		func() { s["not"] = sub() },
		func() { s["if"], s["then"] = sub(), sub() },
		func() { s["if"], s["then"], s["else"] = sub(), sub(), sub() },
	}
	all := plain
	if depth > 0 {
		all = append(all, nested...)
	}
	all[rapid.IntRange(0, len(all)-1).Draw(t, "keyword")]()
}

// changed gives a schema like s but for something, somewhere.
func changed(t *rapid.T, s any, depth int) any {
	object, ok := s.(map[string]any)
	if !ok {
		return testSchema(depth).Draw(t, "another")
	}
	other := map[string]any{}
	var subs []string
	for name, v := range object {
		other[name] = v
		switch v.(type) {
		case map[string]any, []any:
			subs = append(subs, name)
		}
	}
	switch rapid.IntRange(0, 3).Draw(t, "change") {
	case 0:
		addKeyword(t, other, depth)
	case 1:
		if len(other) > 0 {
			delete(other, rapid.SampledFrom(sortedKeys(other)).Draw(t, "dropped"))
		}
	case 2:
		return map[string]any{rapid.SampledFrom([]string{"anyOf", "oneOf", "allOf"}).Draw(t, "wrap"): []any{s, testSchema(1).Draw(t, "other")}}
	default:
		if len(subs) == 0 || depth == 0 {
			return other
		}
		name := rapid.SampledFrom(sortedOf(subs)).Draw(t, "in")
		switch v := other[name].(type) {
		case []any:
			if name == "enum" || len(v) == 0 {
				return other
			}
			list := append([]any(nil), v...)
			i := rapid.IntRange(0, len(list)-1).Draw(t, "at")
			if _, ok := list[i].(map[string]any); ok {
				list[i] = changed(t, list[i], depth-1)
			}
			other[name] = list
		case map[string]any:
			switch name {
			case "properties", "patternProperties", "dependentSchemas":
				inner := map[string]any{}
				for k, x := range v {
					inner[k] = x
				}
				if len(inner) > 0 {
					k := rapid.SampledFrom(sortedKeys(inner)).Draw(t, "member")
					inner[k] = changed(t, inner[k], depth-1)
				}
				other[name] = inner
			case "dependentRequired", "const":
			default:
				other[name] = changed(t, v, depth-1)
			}
		}
	}
	return other
}

// TestWhatIsAcceptedIsNeverRefused looks for documents that make a proof false: pairs of schemas, 30 documents each.
func TestWhatIsAcceptedIsNeverRefused(t *testing.T) {
	const documents = 30
	proved, told, tried := 0, 0, 0
	draft := func(defs map[string]any, s any) string {
		text := map[string]any{"allOf": []any{s}, "$defs": defs}
		if object, ok := s.(map[string]any); ok {
			text = map[string]any{"$defs": defs}
			for k, v := range object {
				text[k] = v
			}
		}
		data, err := stdjson.Marshal(text)
		require.NoError(t, err)
		return string(data)
	}
	check := func(t *rapid.T) {
		defs := map[string]any{"x": testSchema(1).Draw(t, "x"), "y": testSchema(1).Draw(t, "y")}
		s := normal(testSchema(2).Draw(t, "s"))
		other := normal(changed(t, s, 2))
		otherDefs := defs
		if rapid.Bool().Draw(t, "defs too") {
			otherDefs = map[string]any{"x": changed(t, normal(defs["x"]), 1), "y": defs["y"]}
		}
		allText, text := draft(defs, s), draft(otherDefs, other)
		if rapid.Bool().Draw(t, "swap") {
			allText, text = text, allText
		}
		all, err := schemas.Parse("all.json", []byte(allText))
		if err != nil {
			return // references in a circle
		}
		narrow, err := schemas.Parse("s.json", []byte(text))
		if err != nil {
			return
		}
		tried++
		err = narrow.AcceptsAllOf(all)
		if err == nil {
			proved++
		}
		for range documents {
			doc, jerr := stdjson.Marshal(testDocument(2).Draw(t, "doc"))
			require.NoError(t, jerr)
			if all.Validate(doc) != nil {
				continue
			}
			if narrow.Validate(doc) != nil {
				require.Error(t, err, "a document\n%s\nis valid under\n%s\nand not under\n%s", doc, allText, text)
				told++
				return
			}
		}
	}
	rapid.Check(t, check)
	t.Logf("%d pairs: %d proved, %d with a document that refutes them, %d neither", tried, proved, told, tried-proved-told)
	require.Greater(t, proved, tried/5, "the property says nothing if nothing is proved")
}

// normal gives a schema as JSON has it.
func normal(s any) any {
	data, _ := stdjson.Marshal(s)
	var v any
	_ = stdjson.Unmarshal(data, &v)
	return v
}

func sortedKeys(m map[string]any) []string { return slices.Sorted(maps.Keys(m)) }

func sortedOf(s []string) []string { return slices.Sorted(slices.Values(s)) }
