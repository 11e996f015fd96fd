package alerting_test

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

func TestAnnotationsAreFilledIn(t *testing.T) {
	a := alerting.Alarm{
		Rule: "R", Key: "web1", Value: 91.25, Threshold: 80, Since: at(0), At: at(90), Labels: map[string]string{"team": "web"},
		Context: []byte(`{"total":3,"by_severity":{"err":2},"lines":[{"message":"disk"},{"message":"full"}]}`),
	}
	for text, want := range map[string]string{
		`{{.Key}} at {{printf "%.1f" .Value}} for {{.Duration}}`:                       "web1 at 91.2 for 1m30s",
		`{{$labels.team}} {{$value}} {{.Since.Format "15:04"}}`:                        "web 91.25 22:13",
		`{{$context.total}} lines{{range $context.lines}}, {{.message}}{{end}}`:        "3 lines, disk, full",
		`{{range $i, $l := .Context.lines}}{{$i}}{{$l.message}}{{else}}none{{end}}`:    "0disk1full",
		`{{with $context.by_severity}}{{.err}} of {{len $context.lines}}{{end}}`:       "2 of 2",
		`{{range $k, $v := .Labels}}{{$k}}={{$v}}{{end}}{{if gt .Value 90.0}}!{{end}}`: "team=web!",
		`{{(index $context.lines 1).message}}{{$x := print .Rule "-" .Key}}{{$x}}`:     "fullR-web1",
		`{{$context.nothing}}{{with $context.nothing}}{{.}}{{else}}, no more{{end}}`:   "<no value>, no more",
		"a\n{{- /* comment */ -}}\nb":                                                  "ab",
	} {
		got, err := alerting.Render(text, a)
		require.NoError(t, err, text)
		require.Equal(t, want, got, text)
	}
}

// TestHostileTemplatesAreRefused: what would run for ever, take all memory, or call anything.
func TestHostileTemplatesAreRefused(t *testing.T) {
	rule := alerting.Rule[metric]{Name: "R"}
	for text, want := range map[string]string{
		`{{range 1000000000}}{{end}}`:                                           "range goes over",
		`{{range .Duration}}{{end}}`:                                            "range goes over",
		`{{$n := 1000000000}}{{range $n}}{{end}}`:                               "range goes over",
		`{{$context := 1000000000}}{{range $context}}{{end}}`:                   "$context has a meaning already",
		`{{$context = 1000000000}}{{range $context}}{{end}}`:                    "$context has a meaning already",
		`{{with $labels := 1000000}}{{range $labels}}{{end}}{{end}}`:            "$labels has a meaning already",
		`{{range $context := .Context}}{{end}}`:                                 "$context has a meaning already",
		`{{with .Since}}{{range .Nanosecond}}{{end}}{{end}}`:                    "range goes over",
		`{{with 1000000000}}{{range .}}{{end}}{{end}}`:                          "range goes over",
		`{{range .Context}}{{range $.Context}}{{end}}{{end}}`:                   "within a range",
		`{{range .Context}}{{if true}}{{range $.Context}}{{end}}{{end}}{{end}}`: "within a range",
		`{{define "x"}}{{template "x"}}{{end}}{{template "x"}}`:                 "define and block",
		`{{template "annotation"}}`:                                             "template is not taken",
		`{{call .Rule}}`:                                                        "call is not for annotations",
		`{{"x" | js | js}}`:                                                     "js is not for annotations",
		`{{if (html .Rule)}}{{end}}`:                                            "html is not for annotations",
		strings.Repeat("x", 20_000):                                             "at most 16384",
		"ok\n{{.Valeu}}":                                                        "line 2, column 3: executing",
		`{{.Rule}} {{.Valeu}}`:                                                  "line 1, column 13: executing",
		"\n\n{{.Rule":                                                           "line 3",
		"\xff":                                                                  "not UTF-8",
	} {
		err := rule.CheckAnnotation("summary", text)
		require.ErrorContains(t, err, want, text)
		require.NotContains(t, err.Error(), "\n")
	}
}

func TestTemplatesThatFailOnlyWithDataCostTheirTextOnly(t *testing.T) {
	long := `{"lines":["` + strings.Repeat("x", 9000) + `"]}`
	a := alerting.Alarm{Context: []byte(long)}
	for text, want := range map[string]string{
		`{{index $context.lines 0}}`:                   "",
		`{{$a := index $context.lines 0}}{{print $a}}`: "print takes 8192 bytes",
		`{{printf "%v" $context}}`:                     "print takes texts and numbers",
		`{{printf "%10000d" 1}}`:                       "at most 3 digits",
		`{{printf "%[1]s%[1]s" "x"}}`:                  "at most 3 digits",
		`{{index $context.lines 7}}`:                   "out of range",
		`{{"a" | printf "%s%s" "b" | slice 9}}`:        "error calling slice",
	} {
		rule := alerting.Rule[metric]{Name: "R"}
		require.NoError(t, rule.CheckAnnotation("a", text))
		got, err := alerting.Render(text, a)
		require.LessOrEqual(t, len(got), 4<<10+3)
		if want == "" {
			require.NoError(t, err)
			require.True(t, strings.HasSuffix(got, "..."))
			continue
		}
		require.ErrorContains(t, err, want)
	}
}

func TestAlarmsCarryAnnotations(t *testing.T) {
	topic := stream.Topic[metric]{Name: "m", Time: func(m metric) time.Time { return m.At }}
	b := processor.NewBuilder("annotated")
	alerting.Threshold(processor.From(b, topic), alerting.Rule[metric]{
		Name: "R", Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(80),
		Annotations: map[string]string{"summary": "{{.Key}} {{.State}} {{.Value}}", "bad": "{{index .Context.x 1}}"},
		Context:     func(metric) any { return map[string]any{"x": []int{}} },
	}).To(alarms)
	topology, err := b.Build()
	require.NoError(t, err)
	d := processortest.New(t, topology)
	processortest.Pipe(d, topic, processor.Record[metric]{Key: "a", Value: metric{90, at(0)}}, processor.Record[metric]{Key: "a", Value: metric{10, at(1)}})
	got := processortest.Read(d, alarms)
	require.Len(t, got, 2)
	require.Equal(t, "a firing 90", got[0].Value.Annotations["summary"])
	require.Equal(t, "a resolved 10", got[1].Value.Annotations["summary"])
	require.Contains(t, got[0].Value.Annotations["bad"], "this text is not complete")
	require.Empty(t, d.DeadLetters())

	b = processor.NewBuilder("bad")
	alerting.Threshold(processor.From(b, topic), alerting.Rule[metric]{
		Name: "R", Value: func(m metric) float64 { return m.CPU }, When: alerting.Above(80), Annotations: map[string]string{"summary": "{{.Foo}}"},
	}).To(alarms)
	_, err = b.Build()
	require.ErrorContains(t, err, `annotation "summary": line 1, column 3: `)
}

func FuzzAnnotation(f *testing.F) {
	f.Add(`{{$labels.team}} {{printf "%.1f" .Value}}{{range $context.lines}}{{.message}}{{end}}`)
	f.Add(`{{with $x := .Context}}{{$x | print | len}}{{end}}`)
	f.Fuzz(func(t *testing.T, text string) {
		rule := alerting.Rule[metric]{Name: "R"}
		if rule.CheckAnnotation("a", text) != nil {
			return
		}
		got, _ := alerting.Render(text, alerting.Alarm{Context: []byte(`{"lines":[{"message":"m"}],"n":1000000000}`), At: at(1_000_000)})
		require.LessOrEqual(t, len(got), 4<<10+3)
	})
}
