package schemas_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/schemas"
)

const (
	goodMetric = `{"host":"web-1","name":"cpu_percent","value":81.5,"unit":"percent","time":"2026-03-01T12:00:00.123456Z"}`
	goodSyslog = `{"host":"web-1","time":"2026-03-01T12:00:00Z","severity":"crit","facility":"daemon","app":"kernel","message":"disk failure"}`
	goodAlarm  = `{"id":"alarms-0-1","rule":"HighCPU","host":"web-1","state":"firing","severity":"critical","value":90,"threshold":80,` +
		`"since":"2026-03-01T12:00:00Z","at":"2026-03-01T12:00:00Z","context":{"total":1,"by_severity":{"crit":1},` +
		`"lines":[{"time":"2026-03-01T12:00:00Z","severity":"crit","app":"kernel","message":"disk failure"}]}}`
	goodRules = `{"rules":[{"name":"HighCPU","metric":"cpu_percent","above":80,"clear":70,"for":"2m","severity":"critical","context":{"within":"60s","max_lines":20}}]}`
)

func TestBuiltinsAcceptWhatTheyMustAndNameWhatTheyRefuse(t *testing.T) {
	replace := func(doc, old, with string) string {
		t.Helper()
		require.Contains(t, doc, old)
		return strings.Replace(doc, old, with, 1)
	}
	for name, cases := range map[string]struct {
		good string
		bad  map[string]string // document to what the error must say
	}{
		"metric": {goodMetric, map[string]string{
			replace(goodMetric, `81.5`, `"high"`):                           "/value: expected number",
			replace(goodMetric, `"host":"web-1",`, ``):                      `missing properties: 'host'`,
			replace(goodMetric, `"web-1"`, `""`):                            "/host: length must be >= 1",
			replace(goodMetric, `2026-03-01T12:00:00.123456Z`, `yesterday`): "/time: 'yesterday' is not valid 'date-time'",
			replace(goodMetric, `"percent"`, `1`):                           "/unit: expected string",
			`[]`:                                                            "the document: expected object",
			replace(goodMetric, `81.5`, `1e999`):                            "too large",
			replace(goodMetric, `81.5`, `1e-999999999`):                     "exponent",
			replace(goodMetric, `"unit"`, `"host"`):                         "duplicate",
			`{"host":`:                                                      "not JSON",
			``:                                                              "empty",
			goodMetric + "{}":                                               "more after the end",
			strings.Repeat(`[`, 200) + strings.Repeat(`]`, 200):             "nested deeper",
		}},
		"syslog": {goodSyslog, map[string]string{
			replace(goodSyslog, `"crit"`, `"bad"`):               "/severity: value must be one of",
			replace(goodSyslog, `,"message":"disk failure"`, ``): "missing properties: 'message'",
			replace(goodSyslog, `"kernel"`, `{}`):                "/app: expected string",
		}},
		"alarm": {goodAlarm, map[string]string{
			replace(goodAlarm, `"firing"`, `"burning"`):   "/state: value must be one of",
			replace(goodAlarm, `"total":1,`, ``):          "/context: missing properties: 'total'",
			replace(goodAlarm, `"total":1`, `"total":-1`): "/context/total: must be >= 0",
			replace(goodAlarm, `"app":"kernel",`, ``):     "/context/lines/0: missing properties: 'app'",
		}},
		"rules": {goodRules, map[string]string{
			replace(goodRules, `"above"`, `"abov"`):       "additionalProperties 'abov' not allowed",
			replace(goodRules, `"2m"`, `"2 minutes"`):     "/rules/0/for: does not match pattern",
			replace(goodRules, `"clear"`, `"below"`):      "/rules/0: not failed",
			replace(goodRules, `"HighCPU"`, `"High CPU"`): "/rules/0/name: does not match pattern",
			`{"rules":[]}`: "/rules: minimum 1 items required",
		}},
	} {
		s, err := schemas.Builtin(name)
		require.NoError(t, err)
		require.Equal(t, name, s.Name())
		require.NoError(t, s.Validate([]byte(cases.good)))
		for doc, want := range cases.bad {
			err := s.Validate([]byte(doc))
			require.ErrorContains(t, err, want, doc)
			require.ErrorContains(t, err, name)
			require.NotContains(t, err.Error(), "\n")
		}
	}
	_, err := schemas.Builtin("nope")
	require.ErrorIs(t, err, schemas.ErrNoBuiltin)
}

func TestManyBreachesAreBounded(t *testing.T) {
	s, err := schemas.Parse("list.json", []byte(`{"items":{"type":"string"}}`))
	require.NoError(t, err)
	err = s.Validate([]byte("[" + strings.Repeat("1,", 50) + "1]"))
	var invalid *schemas.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Len(t, invalid.Breaches, 10)
	require.Equal(t, 41, invalid.More)
	require.ErrorContains(t, err, "and 41 more")
}

func TestBrokenSchemasSayWhatIsWrong(t *testing.T) {
	for text, want := range map[string]string{
		`{"type":"strin"}`: "/type: value must be one of",
		`{"type":`:         "not JSON",
		`{"$ref":"https://example.com/other.json"}`: "is not fetched",
		`{"$ref":"file:///etc/passwd"}`:             "is not fetched",
		`{"$ref":"#/$defs/none"}`:                   "none",
		`{"$ref":"#"}`:                              "infinite loop",
		`{"pattern":"("}`:                           "/pattern: '(' is not valid 'regex'",
		strings.Repeat(`{"not":`, 300) + `{}` + strings.Repeat(`}`, 300): "nested deeper",
	} {
		_, err := schemas.Parse("my.json", []byte(text))
		var broken *schemas.SchemaError
		require.ErrorAs(t, err, &broken, text)
		require.ErrorContains(t, err, "my.json")
		require.ErrorContains(t, err, want)
		require.NotContains(t, err.Error(), "\n")
	}
	_, err := schemas.Load(os.DirFS(t.TempDir()), "none.json")
	require.ErrorContains(t, err, "none.json")
}

func TestFilesMayReferToOneAnother(t *testing.T) {
	files := fstest.MapFS{
		"order.json": {Data: []byte(`{"properties":{"price":{"$ref":"price.json"}}}`)},
		"price.json": {Data: []byte(`{"type":"number"}`)},
	}
	s, err := schemas.Load(files, "order.json")
	require.NoError(t, err)
	require.ErrorContains(t, s.Validate([]byte(`{"price":"free"}`)), "/price: expected number")
}

func TestFilesMayReferToOneAnotherByTheirAddresses(t *testing.T) {
	files := fstest.MapFS{
		"v1/order.json":   {Data: []byte(`{"$id":"https://example.com/s/order.json","properties":{"price":{"$ref":"a price.json"}}}`)},
		"v1/a price.json": {Data: []byte(`{"$id":"https://example.com/s/a%20price.json","type":"number"}`)},
		"v1/far.json":     {Data: []byte(`{"$id":"https://example.com/s/far.json","$ref":"https://example.com/other/x.json"}`)},
		"v1/up.json":      {Data: []byte(`{"$id":"https://example.com/s/up.json","$ref":"../up.json"}`)},
		"v1/gone.json":    {Data: []byte(`{"$id":"https://example.com/s/gone.json","$ref":"none.json"}`)},
	}
	s, err := schemas.Load(files, "v1/order.json")
	require.NoError(t, err)
	require.ErrorContains(t, s.Validate([]byte(`{"price":"free"}`)), "/price: expected number")
	for name, want := range map[string]string{"far": "is not fetched", "up": "is not fetched", "gone": "v1/none.json"} {
		_, err = schemas.Load(files, "v1/"+name+".json")
		require.ErrorContains(t, err, want)
	}
}

func TestNamesOfFilesMayHaveAnyCharacters(t *testing.T) {
	for _, name := range []string{"a b.json", "a#b.json", "a%zz.json", "%41.json", "a?b.json", "\u00fc.json", `C:\x\y.json`, "../x.json", "/x.json", "x"} {
		s, err := schemas.Parse(name, []byte(`{"$ref":"#/$defs/a","$defs":{"a":{"type":"string"}}}`))
		require.NoError(t, err, name)
		require.NoError(t, s.Validate([]byte(`"x"`)))
		require.Error(t, s.Validate([]byte(`1`)))
		_, err = schemas.Parse(name, []byte(`{"type":"strin"}`))
		require.ErrorContains(t, err, name)
	}
}

func TestErrorsAreShortSafeAndInOrder(t *testing.T) {
	long := strings.Repeat("\u00e9", 1<<19)
	s, err := schemas.Parse("s.json", []byte(`{"properties":{"t":{"format":"date-time"},"a b/c":{"type":"string"}},"patternProperties":{"^x":{"type":"null"}},`+
		`"items":{"type":"string"}}`))
	require.NoError(t, err)

	err = s.Validate([]byte(`{"t":"` + long + `","x` + long + `":1}`))
	require.Less(t, len(err.Error()), 2000)
	require.True(t, utf8.ValidString(err.Error()))

	var invalid *schemas.ValidationError
	require.ErrorAs(t, s.Validate([]byte(`{"a b/c":1}`)), &invalid)
	require.Equal(t, "/a b~1c", invalid.Breaches[0].Field, "a JSON pointer, not part of an address")

	err = s.Validate([]byte(`{"x\u001b[31m\u0085":1}`))
	require.NotContains(t, err.Error(), "\x1b", "nothing that a terminal obeys")

	doc := []byte(`{"x1":1,"x2":1,"x3":1,"x4":1,"x5":1,"x6":1,"x7":1,"x8":1,"x9":1,"x0":1,"xa":1,"xb":1}`)
	first := s.Validate(doc).Error()
	for range 20 {
		require.EqualError(t, s.Validate(doc), first)
	}
	require.ErrorAs(t, s.Validate([]byte("["+strings.Repeat("1,", 11)+`""]`)), &invalid)
	require.Equal(t, "/9", invalid.Breaches[9].Field, "indexes in the order of their values")
	require.Equal(t, 1, invalid.More)
}

func TestNumbersKeepTheirDigitsAndCannotExhaustAnybody(t *testing.T) {
	s, err := schemas.Parse("s.json", []byte(`{"type":"integer","maximum":9007199254740993}`))
	require.NoError(t, err)
	require.NoError(t, s.Validate([]byte(`9007199254740993`)))
	require.ErrorContains(t, s.Validate([]byte(`9007199254740994`)), "must be <= ")
	require.NoError(t, s.Validate([]byte(`-1.50e1`)))
	require.ErrorContains(t, s.Validate([]byte("0."+strings.Repeat("7", 1<<20))), "more than 1000 digits")
	require.ErrorContains(t, s.Validate([]byte(strings.Repeat("7", 1<<20))), "more than 1000 digits")
	require.ErrorContains(t, s.Validate([]byte(`1e401`)), "too large")
	require.ErrorContains(t, s.Validate([]byte(`1e-401`)), "exponent")
	require.ErrorContains(t, s.Validate([]byte(`1e99999999999999999999`)), "too large")
}

func TestSchemasServeManyAtOnce(t *testing.T) {
	s, err := schemas.Builtin("metric")
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				assert.NoError(t, s.Validate([]byte(goodMetric)))
				assert.Error(t, s.Validate([]byte(`{"host":1}`)))
			}
		})
	}
	wg.Wait()
}

func TestEveryFieldOfTheBuiltinsIsDescribed(t *testing.T) {
	var look func(where string, v any) int
	look = func(where string, v any) int {
		object, ok := v.(map[string]any)
		if !ok {
			return 0
		}
		n := 0
		fields, _ := object["properties"].(map[string]any)
		for name, field := range fields {
			n++
			require.NotEmpty(t, field.(map[string]any)["description"], "%s/%s", where, name)
		}
		for name, inner := range object {
			n += look(where+"/"+name, inner)
		}
		return n
	}
	for _, name := range []string{"metric", "syslog", "alarm", "rules"} {
		text, err := os.ReadFile(name + ".json")
		require.NoError(t, err)
		var schema map[string]any
		require.NoError(t, json.Unmarshal(text, &schema))
		require.Equal(t, "https://rossby.dev/schemas/"+name+".json", schema["$id"])
		require.GreaterOrEqual(t, look(name, schema), 5)
	}
}

type metric struct {
	Host  string    `json:"host"`
	Name  string    `json:"name"`
	Value float64   `json:"value"`
	Unit  string    `json:"unit,omitempty"`
	Time  time.Time `json:"time"`
}

func TestCodecValidatesBothWays(t *testing.T) {
	s, err := schemas.Builtin("metric")
	require.NoError(t, err)
	c := schemas.Codec[metric](s)
	m := metric{Host: "web-1", Name: "cpu_percent", Value: 81.5, Time: time.Date(2026, 3, 1, 12, 0, 0, 123456000, time.UTC)}
	data, err := c.Encode(m)
	require.NoError(t, err)
	back, err := c.Decode(data)
	require.NoError(t, err)
	require.Equal(t, m, back)
	_, err = c.Encode(metric{Name: "cpu_percent", Time: m.Time})
	var invalid *schemas.ValidationError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "/host", invalid.Breaches[0].Field)
	_, err = c.Decode([]byte(`{"host":"web-1"}`))
	require.True(t, errors.As(err, &invalid))
}

func FuzzValidate(f *testing.F) {
	for _, doc := range []string{goodMetric, goodRules, `{"value":1e400}`, `[[[[`, `"\ud800"`} {
		f.Add([]byte(doc))
	}
	var all []*schemas.Schema
	for _, name := range []string{"metric", "syslog", "alarm", "rules"} {
		s, err := schemas.Builtin(name)
		require.NoError(f, err)
		all = append(all, s)
	}
	c := schemas.Codec[metric](all[0])
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, s := range all {
			if err := s.Validate(data); err != nil && strings.Contains(err.Error(), "\n") {
				t.Errorf("more than one line: %q", err)
			}
		}
		if m, err := c.Decode(data); err == nil {
			if _, err := c.Encode(m); err != nil {
				t.Errorf("decoded and not encoded again: %v", err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"type":"string","minLength":1}`))
	f.Add([]byte(`{"$ref":"#"}`))
	f.Add([]byte(`{"$defs":{"a":{"$ref":"#/$defs/b"},"b":{"$ref":"#/$defs/a"}},"$ref":"#/$defs/a"}`))
	f.Fuzz(func(_ *testing.T, data []byte) {
		if s, err := schemas.Parse("fuzz.json", data); err == nil {
			_ = s.Validate([]byte(goodMetric))
		}
	})
}
