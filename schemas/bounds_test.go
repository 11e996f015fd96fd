package schemas_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/schemas"
)

func TestSchemasThatTryToDoHarmAreRefused(t *testing.T) {
	doubled := `{"$ref":"#/$defs/d0","$defs":{`
	for i := range 40 {
		doubled += fmt.Sprintf(`"d%d":{"allOf":[{"$ref":"#/$defs/d%d"},{"$ref":"#/$defs/d%d"}]},`, i, i+1, i+1)
	}
	doubled += `"d40":{}}}`
	for name, c := range map[string]struct{ text, want string }{
		"huge pattern":        {`{"pattern":"` + strings.Repeat("x", 5000) + `"}`, "/pattern: the pattern has 5000 bytes"},
		"pattern that grows":  {`{"properties":{"a":{"pattern":"` + strings.Repeat("x{1000}", 20) + `"}}}`, "instructions"},
		"pattern of names":    {`{"patternProperties":{"` + strings.Repeat("x{1000}", 20) + `":{}}}`, "instructions"},
		"huge enum":           {`{"enum":[1` + strings.Repeat(",1", 10_000) + `]}`, "/enum: it lists 10001 values"},
		"many values":         {`{"examples":[1` + strings.Repeat(",1", 100_000) + `]}`, "more than 100000 values"},
		"long text":           {`{"title":"` + strings.Repeat("x", 1<<20) + `"}`, "bytes, more than"},
		"work that doubles":   {doubled, "more than 10000"},
		"loop":                {`{"allOf":[{"$ref":"#"}]}`, "infinite loop"},
		"unknown format":      {`{"format":"int32"}`, `format: the format "int32" is none that is checked`},
		"draft 4":             {`{"$schema":"http://json-schema.org/draft-04/schema#"}`, "neither draft 7"},
		"draft 2019-09":       {`{"$schema":"https://json-schema.org/draft/2019-09/schema"}`, "neither draft 7"},
		"a dialect elsewhere": {`{"$schema":"https://example.com/dialect"}`, "not fetched"},
	} {
		_, err := schemas.Parse("bomb.json", []byte(c.text))
		var broken *schemas.SchemaError
		require.ErrorAs(t, err, &broken, name)
		require.ErrorContains(t, err, c.want, name)
		require.Less(t, len(err.Error()), 1000)
	}
}

func TestDocumentsThatMultiplyTheWorkAreRefused(t *testing.T) {
	twice, err := schemas.Parse("twice.json", []byte(`{"allOf":[{"properties":{"x":{"$ref":"#"}}},{"properties":{"x":{"$ref":"#"}}}]}`))
	require.NoError(t, err)
	nested := func(depth int) []byte {
		return []byte(strings.Repeat(`{"x":`, depth) + "1" + strings.Repeat("}", depth))
	}
	require.NoError(t, twice.Validate(nested(10)))
	require.ErrorContains(t, twice.Validate(nested(100)), "too long to validate")

	tree, err := schemas.Parse("tree.json", []byte(`{"oneOf":[{"type":"number"},{"type":"object","required":["and"],"properties":{"and":{"items":{"$ref":"#"}}}},`+
		`{"type":"object","required":["or"],"properties":{"or":{"items":{"$ref":"#"}}}}]}`))
	require.NoError(t, err)
	require.NoError(t, tree.Validate([]byte(strings.Repeat(`{"or":[1,`, 50)+"1"+strings.Repeat("]}", 50))), "what recurs by different names does not multiply")
}

func TestWhatIsAllowedIsFetched(t *testing.T) {
	from := schemas.Sources{
		Files: fstest.MapFS{"near.json": {Data: []byte(`{"type":"string"}`)}},
		Fetch: func(address string) ([]byte, error) {
			switch address {
			case "https://example.com/price.json":
				return []byte(`{"type":"number"}`), nil
			case "https://example.com/bomb.json":
				return []byte(`{"pattern":"` + strings.Repeat("x{1000}", 20) + `"}`), nil
			}
			return nil, errors.New("no such page")
		},
	}
	s, err := from.Parse("order.json", []byte(`{"properties":{"price":{"$ref":"https://example.com/price.json"},"near":{"$ref":"near.json"}}}`))
	require.NoError(t, err)
	require.ErrorContains(t, s.Validate([]byte(`{"price":"free"}`)), "/price: expected number")
	require.ErrorContains(t, s.Validate([]byte(`{"near":1}`)), "/near: expected string")
	for ref, want := range map[string]string{"https://example.com/bomb.json": "instructions", "https://example.com/none.json": "no such page", "file:///etc/passwd": "not fetched"} {
		_, err = from.Parse("order.json", []byte(`{"$ref":"`+ref+`"}`))
		require.ErrorContains(t, err, want)
	}
}

// FuzzAcceptsAllOf compares any two schemas, in bounded time and without a panic, and looks for documents that make a proof false.
func FuzzAcceptsAllOf(f *testing.F) {
	f.Add([]byte(`{"type":"integer"}`), []byte(`{"type":"number"}`), []byte(`1.0`))
	f.Add([]byte(`{"properties":{"a":{"$ref":"#"}}}`), []byte(`{"additionalProperties":{"$ref":"#"}}`), []byte(`{"a":{"b":{}}}`))
	f.Add([]byte(`{"not":{"not":{"required":["a"]}}}`), []byte(`{"oneOf":[{"required":["a"]},false]}`), []byte(`{"a":1}`))
	f.Add([]byte(`{"prefixItems":[true],"unevaluatedItems":false}`), []byte(`{"maxItems":1,"contains":{}}`), []byte(`[1]`))
	f.Fuzz(func(t *testing.T, all, one, doc []byte) {
		a, err := schemas.Parse("all.json", all)
		if err != nil {
			return
		}
		s, err := schemas.Parse("s.json", one)
		if err != nil {
			return
		}
		if s.AcceptsAllOf(a) == nil && a.Validate(doc) == nil && s.Validate(doc) != nil {
			t.Errorf("proved, and %s is valid under %s and not under %s", doc, all, one)
		}
	})
}
