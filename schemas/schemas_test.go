package schemas_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v5"
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
			replace(goodRules, `"clear"`, `"below"`):      "/rules/0: valid against schemas at indexes 0 and 1",
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

// BenchmarkValidate compares validation with the bare library on the same decoded document.
func BenchmarkValidate(b *testing.B) {
	s, err := schemas.Builtin("metric")
	require.NoError(b, err)
	c := schemas.Codec[metric](s)
	b.Run("codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, err = c.Decode([]byte(goodMetric))
		}
	})
	text, err := os.ReadFile("metric.json")
	require.NoError(b, err)
	bare, err := jsonschema.CompileString("metric.json", string(text))
	require.NoError(b, err)
	b.Run("bare library, decoded before", func(b *testing.B) {
		doc := map[string]any{"host": "web-1", "name": "cpu_percent", "value": 81.5, "unit": "percent", "time": "2026-03-01T12:00:00Z"}
		b.ReportAllocs()
		for b.Loop() {
			err = bare.Validate(doc)
		}
	})
	require.NoError(b, err)
}
