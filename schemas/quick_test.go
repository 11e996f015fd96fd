package schemas

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

// slowly judges as if there were no plan.
func (s *Schema) slowly(doc []byte) error {
	v, err := parseDocument(doc)
	if err != nil {
		return err
	}
	return s.validate(v)
}

// quickly is whether the plan says yes.
func (s *Schema) quickly(doc []byte) bool {
	return s.planned && s.accepts(new(reader).reset(doc))
}

func TestUsualDocumentsAreAcceptedQuickly(t *testing.T) {
	for name, docs := range map[string][]string{
		"metric": {
			`{"host":"web-1","name":"cpu_percent","value":81.5,"unit":"percent","time":"2026-03-01T12:00:00.123456Z"}`,
			` { "time" : "2026-03-31T23:59:59+02:00", "value" : -1, "name" : "x", "host" : "h", "labels" : {"a":[1,null,true,{"b":"c"}]} } `,
		},
		"syslog": {`{"host":"web-1","time":"2026-03-01T12:00:00Z","severity":"crit","message":"disk \"sda\" failure \u00e9"}`},
	} {
		s, err := Builtin(name)
		require.NoError(t, err)
		for _, doc := range docs {
			require.True(t, s.quickly([]byte(doc)), doc)
			require.NoError(t, s.Validate([]byte(doc)))
		}
	}
}

func TestSchemasWithOtherKeywordsHaveNoPlan(t *testing.T) {
	for _, text := range []string{
		`false`, `{"type":"integer"}`, `{"format":"ipv4"}`, `{"enum":[1]}`, `{"const":1}`, `{"minimum":1}`, `{"pattern":"x"}`, `{"not":{}}`,
		`{"items":{"type":"string"}}`, `{"minItems":1}`, `{"uniqueItems":true}`, `{"contains":{"type":"null"}}`, `{"minProperties":1}`,
		`{"$ref":"#/$defs/a","$defs":{"a":{}}}`, `{"allOf":[{"type":"null"}]}`, `{"additionalProperties":{"type":"string"}}`,
		`{"properties":{"a":{"maximum":1}}}`, `{"required":["a"],"additionalProperties":false}`, `{"dependentRequired":{"a":["b"]}}`,
		`{"propertyNames":{"maxLength":1}}`, `{"patternProperties":{"x":false}}`, `{"unevaluatedProperties":false}`, `{"if":{"type":"null"},"then":false}`,
	} {
		s, err := Parse("s.json", []byte(text))
		require.NoError(t, err, text)
		require.False(t, s.planned, text)
	}
}

// TestTheQuickYesIsNeverGenerous puts documents together from parts that are just right and just wrong.
func TestTheQuickYesIsNeverGenerous(t *testing.T) {
	var all []*Schema
	for _, name := range []string{"metric", "syslog"} {
		s, err := Builtin(name)
		require.NoError(t, err)
		all = append(all, s)
	}
	closed, err := Parse("closed.json", []byte(`{"type":["object","null"],"required":["host"],"additionalProperties":false,"properties":{`+
		`"host":{"minLength":3,"maxLength":4},"severity":{"enum":["a","\u00e9"]},"value":{"type":["number","boolean","null"]},"name":true}}`))
	require.NoError(t, err)
	require.True(t, closed.planned)
	all = append(all, closed)
	names := []string{"host", "name", "value", "unit", "time", "severity", "message", "facility", "h\\u006fst", "other", "a~/b"}
	values := []string{
		`"x"`, `""`, `"\u0000"`, `"\ud83d\ude00"`, `"\ud800"`, `"éé"`, `"ééé"`, `"éééé"`, `"ééééé"`, `"é"`, `"\u00e9\u00e9"`, `1`, `-0`, `1.50`, `1e5`, `1e999`, `01`, `.5`,
		`true`, `null`, `nul`, `[]`, `{}`, `[1,{"a":[]}]`, `{"a":1,"a":2}`, `[1,]`, `"crit"`, `"cr\u0069t"`, `"worse"`, `"2026-03-01T12:00:00Z"`,
		`"2026-02-28T12:00:00Z"`, `"2026-02-29T12:00:00Z"`, `"2028-02-29T12:00:00Z"`, `"2026-04-31T12:00:00Z"`, `"2026-12-31T23:59:60Z"`, `"0000-01-01T00:00:00Z"`,
		`"2026-13-01T12:00:00Z"`, `"2026-00-01T12:00:00Z"`, `"2026-01-00T12:00:00Z"`, `"2026-03-01T24:00:00Z"`, `"2026-03-01T12:60:00Z"`, `"2026-03-01t12:00:00z"`,
		`"2026-03-01T12:00:00"`, `"2026-03-01T12:00:00."`, `"2026-03-01T12:00:00.Z"`, `"2026-03-01T12:00:00.5+24:00"`, `"2026-03-01T12:00:00.5-23:59"`,
		`"2026-03-01T12:00:00+0100"`, `"2026-03-01 12:00:00Z"`, `"+026-03-01T12:00:00Z"`, `"2026-03-01T12:00:00Zz"`, "\"\xff\"",
		strings.Repeat("9", 40), `"` + strings.Repeat("x", 256) + `"`, `"` + strings.Repeat(`\n`, 255) + `"`, strings.Repeat("[", 130) + strings.Repeat("]", 130),
		strings.Repeat("[", 128) + strings.Repeat("]", 128),
	}
	rapid.Check(t, func(t *rapid.T) {
		var b strings.Builder
		for i, name := range rapid.SliceOfN(rapid.SampledFrom(names), 0, 8).Draw(t, "names") {
			if i > 0 {
				b.WriteString(",")
			}
			b.WriteString(`"` + name + `":` + rapid.SampledFrom(values).Draw(t, "value"))
		}
		end := rapid.SampledFrom([]string{"}", "}", "}", "} ", "", "}}", "}1"}).Draw(t, "end")
		neverGenerous(t, all, []byte("{"+b.String()+end))
	})
	for _, v := range values {
		for _, text := range []string{`{"format":"date-time"}`, `{"type":"string","minLength":2,"maxLength":3}`, `{"enum":["crit","\u00e9"]}`, `{}`, `true`, `{"type":"number"}`} {
			s, err := Parse("s.json", []byte(text))
			require.NoError(t, err)
			require.True(t, s.planned, text)
			neverGenerous(t, []*Schema{s}, []byte(v))
		}
	}
}

type failer interface{ Fatalf(string, ...any) }

func neverGenerous(t failer, all []*Schema, doc []byte) {
	for _, s := range all {
		if !s.quickly(doc) {
			continue
		}
		if err := s.slowly(doc); err != nil {
			t.Fatalf("the plan of %s accepts %q, the library says: %v", s.name, doc, err)
		}
	}
}

func FuzzQuick(f *testing.F) {
	f.Add([]byte(`{"type":"object","properties":{"a":{"type":"string","maxLength":2}},"required":["a"]}`), []byte(`{"a":"bc"}`))
	f.Add([]byte(`{"enum":["a"],"minLength":1}`), []byte(`"a"`))
	f.Add([]byte(`{"format":"date-time"}`), []byte(`"2026-03-01T12:00:00Z"`))
	f.Add([]byte(`{"$schema":"http://json-schema.org/draft-07/schema#","type":["null","number"]}`), []byte(`1.5`))
	f.Fuzz(func(t *testing.T, text, doc []byte) {
		if s, err := Parse("s.json", text); err == nil {
			neverGenerous(t, []*Schema{s}, doc)
		}
	})
}
