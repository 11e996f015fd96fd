package alerting_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/cases"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/processor/processortest"
	"github.com/rossby-streams/rossby/stream"
)

// rulesEnv names a folder with further cases.
const rulesEnv = "ROSSBY_RULES"

// A case has samples, one rule, and the alerts that Prometheus has at the evaluations.
type (
	ruleFile struct {
		Cases []ruleCase `json:"cases"`
	}
	ruleCase struct {
		ID       string        `json:"id"`
		Source   string        `json:"source"`
		Interval string        `json:"interval"`
		Lookback string        `json:"lookback"`
		Series   []inputSeries `json:"input_series"`
		Rule     promRule      `json:"rule"`
		Eval     []evaluation  `json:"eval"`
	}
	inputSeries struct {
		Metric string            `json:"metric"`
		Labels map[string]string `json:"labels"`
		Values string            `json:"values"`
	}
	promRule struct {
		Alert       string            `json:"alert"`
		Expr        string            `json:"expr"`
		For         string            `json:"for"`
		Keep        string            `json:"keep_firing_for"`
		Labels      map[string]string `json:"labels"`
		Annotations map[string]string `json:"annotations"`
		Limit       int               `json:"limit"`
	}
	evaluation struct {
		At       string      `json:"at"`
		Alerts   []wantAlert `json:"alerts"`
		Resolved []wantAlert `json:"resolved_now"`
	}
	wantAlert struct {
		Labels      map[string]string `json:"labels"`
		State       string            `json:"state"`
		ActiveAt    string            `json:"active_at"`
		Value       *float64          `json:"value"`
		Annotations map[string]string `json:"annotations"`
	}
)

// errNotApplicable is for what a case wants and no rule of ours has.
var errNotApplicable = errors.New("not applicable")

// promSample is a record of the topology that a case runs in.
type promSample struct {
	Metric string            `json:"metric"`
	Labels map[string]string `json:"labels"`
	Value  float64           `json:"value"`
	Stale  bool              `json:"stale,omitzero"`
}

// TestConformance runs rule timing as data: our cases, and those of any folder given.
func TestConformance(t *testing.T) {
	folders := []string{"testdata/conformance"}
	if dir := os.Getenv(rulesEnv); dir != "" {
		folders = append(folders, dir)
	}
	ran, skipped := 0, 0
	for _, dir := range folders {
		files, err := filepath.Glob(filepath.Join(dir, "*.json"))
		require.NoError(t, err)
		require.NotEmpty(t, files, "no cases in %s", dir)
		for _, name := range files {
			data, err := os.ReadFile(name)
			require.NoError(t, err)
			var file ruleFile
			require.NoError(t, json.Unmarshal(data, &file), name)
			for _, c := range file.Cases {
				for _, crash := range []bool{false, true} {
					t.Run(fmt.Sprintf("%s/crash=%v", c.ID, crash), func(t *testing.T) {
						err := playRule(t, c, crash)
						if errors.Is(err, errNotApplicable) {
							t.Logf("%s: %v", c.ID, err)
							skipped++
							return
						}
						require.NoError(t, err)
						ran++
					})
				}
			}
		}
	}
	t.Logf("%d runs, %d not applicable", ran, skipped)
	require.Positive(t, ran)
}

// promWorld is a case while it runs.
type promWorld struct {
	c      ruleCase
	d      *processortest.Driver
	base   time.Time
	expr   promExpr
	rule   alerting.Rule[promSample]
	topic  stream.Topic[promSample]
	out    stream.Topic[alerting.Alarm]
	keys   map[string]map[string]string // the labels of each key
	series [][]cases.Value
}

func playRule(t *testing.T, c ruleCase, crash bool) error {
	w, interval, err := newPromWorld(t, c)
	if err != nil {
		return err
	}
	evals := make(map[time.Duration]evaluation)
	last := time.Duration(0)
	for _, e := range c.Eval {
		at, err := promDuration(e.At)
		require.NoError(t, err)
		evals[at] = e
		last = max(last, at)
		require.Zero(t, at%interval, "an evaluation at %v is no multiple of %v", at, interval)
	}
	for i := 0; time.Duration(i)*interval <= last; i++ {
		at := time.Duration(i) * interval
		w.feed(i, at)
		w.d.AdvanceTime(w.base.Add(at + time.Millisecond))
		if crash {
			w.d.Crash()
		}
		require.NoError(t, w.d.Err())
		require.Empty(t, w.d.DeadLetters())
		if err := w.check(evals, at); err != nil {
			return fmt.Errorf("at %v: %w", at, err)
		}
	}
	return nil
}

func newPromWorld(t *testing.T, c ruleCase) (*promWorld, time.Duration, error) {
	interval, err := promDuration(c.Interval)
	require.NoError(t, err)
	w := &promWorld{
		c: c, keys: make(map[string]map[string]string),
		topic: stream.Topic[promSample]{Name: "samples"}, out: stream.Topic[alerting.Alarm]{Name: "alarms"},
		base: time.Unix(0, (1_700_000_000*int64(time.Second)/int64(interval)+1)*int64(interval)).UTC(),
	}
	if w.expr, err = parseExpr(c.Rule.Expr); err != nil {
		return nil, 0, err
	}
	if w.rule, err = w.promRule(interval); err != nil {
		return nil, 0, err
	}
	for _, s := range c.Series {
		values, err := cases.ParseValues(s.Values)
		if err != nil {
			return nil, 0, fmt.Errorf("%w: values: %w", errNotApplicable, err)
		}
		w.series = append(w.series, values)
	}
	b := processor.NewBuilder("conformance")
	alerting.Threshold(processor.From(b, w.topic), w.rule).To(w.out)
	topology, err := b.Build()
	require.NoError(t, err)
	w.d = processortest.New(t, topology)
	return w, interval, nil
}

// promRule is our rule that means the same.
func (w *promWorld) promRule(interval time.Duration) (alerting.Rule[promSample], error) {
	rule := alerting.Rule[promSample]{
		Name: "R", Every: interval, Labels: withoutEmpty(w.c.Rule.Labels), OnNoData: alerting.AsOK, Annotations: w.c.Rule.Annotations,
		Value: func(s promSample) float64 {
			if s.Stale {
				return alerting.StaleMarker()
			}
			return s.Value
		},
		Select: w.expr.selects, By: func(s promSample) map[string]string { return s.Labels },
	}
	if w.c.Rule.Limit > 0 {
		return rule, fmt.Errorf("%w: limit", errNotApplicable)
	}
	for _, label := range w.c.Rule.Labels {
		if strings.Contains(label, "{{") {
			return rule, fmt.Errorf("%w: templates in labels", errNotApplicable)
		}
	}
	for _, text := range w.c.Rule.Annotations {
		if err := rule.CheckAnnotation("annotation", text); err != nil {
			return rule, fmt.Errorf("%w: %w", errNotApplicable, err)
		}
	}
	var err error
	for _, d := range []struct {
		text string
		to   *time.Duration
	}{{w.c.Rule.For, &rule.For}, {w.c.Rule.Keep, &rule.KeepFiringFor}, {w.c.Lookback, &rule.Lookback}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = promDuration(d.text); err != nil {
			return rule, err
		}
	}
	var series []string
	for _, s := range w.c.Series {
		series = append(series, seriesMark+labelKey(s.Labels))
	}
	w.expr.fill(&rule, series)
	return rule, nil
}

// feed pipes the samples of one time. What absent watches for is announced, since nobody can miss what was never there.
func (w *promWorld) feed(i int, at time.Duration) {
	when := w.base.Add(at)
	if w.expr.absent && i == 0 {
		w.pipe(promSample{Metric: seriesMark, Labels: w.expr.left.equal(), Stale: true}, when)
	}
	for n, s := range w.c.Series {
		if i >= len(w.series[n]) || w.series[n][i].Missing {
			continue
		}
		v := w.series[n][i]
		sample := promSample{Metric: s.Metric, Labels: s.Labels, Value: v.Number, Stale: v.Stale}
		if w.expr.absent {
			if !w.expr.selects(sample) {
				continue
			}
			sample.Metric, sample.Labels = seriesMark+labelKey(s.Labels), w.expr.left.equal() // one alert for all series
		}
		w.pipe(sample, when)
	}
}

func (w *promWorld) pipe(s promSample, at time.Time) {
	s.Labels = withoutEmpty(s.Labels)
	w.keys[alerting.IdentityKey("k", s.Labels)] = s.Labels
	processortest.Pipe(w.d, w.topic, processor.Record[promSample]{Key: "k", Value: s, Time: at})
}

// withoutEmpty are labels as Prometheus has them: an empty one is none.
func withoutEmpty(labels map[string]string) map[string]string {
	kept := make(map[string]string, len(labels))
	for name, value := range labels {
		if value != "" {
			kept[name] = value
		}
	}
	return kept
}

func labelKey(labels map[string]string) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+labels[name])
	}
	return strings.Join(parts, ",")
}

// check compares with what is expected at a time, if anything is.
func (w *promWorld) check(evals map[time.Duration]evaluation, at time.Duration) error {
	resolved := []string{}
	for _, r := range processortest.Read(w.d, w.out) {
		if r.Value.State == alerting.Resolved {
			resolved = append(resolved, labelKey(r.Value.Labels))
		}
		if !r.Value.At.Equal(w.base.Add(at)) {
			return fmt.Errorf("an alarm of another time: %v", r.Value)
		}
	}
	e, ok := evals[at]
	if !ok {
		return nil
	}
	if e.Alerts != nil || e.Resolved == nil {
		if err := w.checkAlerts(e.Alerts, at); err != nil {
			return err
		}
	}
	if e.Resolved != nil {
		var want []string
		for _, a := range e.Resolved {
			want = append(want, labelKey(withoutName(a.Labels)))
		}
		slices.Sort(want)
		slices.Sort(resolved)
		if !slices.Equal(want, resolved) {
			return fmt.Errorf("resolved now: want %q, got %q", want, resolved)
		}
	}
	return nil
}

func withoutName(labels map[string]string) map[string]string {
	labels = withoutEmpty(labels)
	delete(labels, "alertname")
	return labels
}

func (w *promWorld) checkAlerts(want []wantAlert, at time.Duration) error {
	left := make(map[string]wantAlert)
	for _, a := range want {
		left[labelKey(withoutName(a.Labels))] = a
	}
	for key, own := range w.keys {
		s, ok, err := alerting.StandingAlarm(w.d, "R", key)
		if err != nil {
			return err
		}
		if !ok {
			continue
		}
		labels := maps.Clone(own)
		maps.Copy(labels, withoutEmpty(w.c.Rule.Labels))
		name := labelKey(labels)
		a, expected := left[name]
		if !expected {
			return fmt.Errorf("an alert that is not expected: %s %s", name, s.State)
		}
		delete(left, name)
		if err := w.compare(a, s, labels); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, a := range left {
		return fmt.Errorf("no alert %s, want %s", name, a.State)
	}
	return nil
}

func (w *promWorld) compare(a wantAlert, s alerting.Standing, labels map[string]string) error {
	state := s.State
	if state == alerting.Recovering {
		state = alerting.Firing
	}
	if a.State != "" && string(state) != a.State {
		return fmt.Errorf("state: want %s, got %s", a.State, state)
	}
	if a.ActiveAt != "" {
		since, err := promDuration(a.ActiveAt)
		if err != nil {
			return err
		}
		if got := s.Since.Sub(w.base); got != since {
			return fmt.Errorf("active_at: want %v, got %v", since, got)
		}
	}
	if a.Value != nil && !w.expr.absent && *a.Value != s.Value {
		return fmt.Errorf("value: want %v, got %v", *a.Value, s.Value)
	}
	for name, want := range a.Annotations {
		got, err := alerting.Render(w.c.Rule.Annotations[name], alerting.Alarm{Value: s.Value, Labels: labels, Context: []byte("null")})
		if err != nil || got != want && !w.expr.absent {
			return fmt.Errorf("annotation %s: want %q, got %q, %w", name, want, got, err)
		}
	}
	return nil
}

func promDuration(text string) (time.Duration, error) {
	total := time.Duration(0)
	if d, err := time.ParseDuration(text); err == nil {
		return d, nil
	}
	for _, m := range regexp.MustCompile(`(\d+)(ms|[smhdwy])`).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			return 0, err
		}
		unit := map[string]time.Duration{
			"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour,
		}[m[2]]
		total += time.Duration(n) * unit
	}
	if total == 0 && text != "0" {
		return 0, fmt.Errorf("%q is no duration", text)
	}
	return total, nil
}
