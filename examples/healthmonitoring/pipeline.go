package main

import (
	"encoding/json"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/examples/healthmonitoring/health"
	"github.com/rossby-streams/rossby/join"
	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// app is the name of the application: its journals and its consumer group carry it.
const app = "health"

const (
	// grace is how far records may arrive out of order, in event time, before they are late.
	grace = 10 * time.Second
	// idle is after how much silence time goes on without records, so that the last alarms are completed.
	idle = 10 * time.Second
)

// topics are the pipeline's topics. Records are keyed by host, so that everything of one host meets in one task.
type topics struct {
	metrics stream.Topic[health.Metric]
	syslogs stream.Topic[health.Syslog]
	alarms  stream.Topic[alerting.Alarm]
	late    stream.Topic[late]
	dead    stream.Topic[[]byte]
	changes stream.Topic[alerting.RuleChange] // with -rules-bucket
	// With -api: alerts that are posted, and changes of silences.
	posted   stream.Topic[notify.Alert]
	silences stream.Topic[notify.SilenceChange]
}

// late is a record whose window had closed when it came: one of the two.
type late struct {
	Metric *health.Metric `json:"metric,omitempty"`
	Syslog *health.Syslog `json:"syslog,omitempty"`
}

const partitions = 4

// keepLive is how long metrics and log lines are kept when they come in live. Recorded input is kept for ever: a replay that was
// interrupted finds out from it where to go on.
const keepLive = 24 * time.Hour

func newTopics(s *schemaSet, live bool) topics {
	keep := time.Duration(0)
	if live {
		keep = keepLive
	}
	return topics{
		metrics: stream.Topic[health.Metric]{
			Name: "metrics", Partitions: partitions, MaxAge: keep, Codec: s.metric, Time: func(m health.Metric) time.Time { return m.Time },
		},
		syslogs: stream.Topic[health.Syslog]{
			Name: "syslogs", Partitions: partitions, MaxAge: keep, Codec: s.syslog, Time: func(l health.Syslog) time.Time { return l.Time },
		},
		alarms: stream.Topic[alerting.Alarm]{
			Name: "alarms", Partitions: partitions, Time: func(a alerting.Alarm) time.Time { return a.At },
		},
		late:    stream.Topic[late]{Name: "late", Partitions: partitions},
		dead:    stream.Topic[[]byte]{Name: "dead-letters", Codec: stream.Bytes()},
		changes: alerting.RuleChanges("rule-changes", partitions),
		posted:  notify.Alerts("posted-alerts", partitions), silences: notify.SilenceChanges("silence-changes", partitions),
	}
}

// specs are all of them.
func (t topics) specs() []stream.TopicSpec {
	return []stream.TopicSpec{t.metrics.Spec(), t.syslogs.Spec(), t.alarms.Spec(), t.late.Spec(), t.dead.Spec()}
}

// readRule reads a rule that changes while the program runs.
type readRule = func(name, text string) (alerting.Loaded[health.Incident], error)

// pipeline is the whole of the application: samples that a rule watches are joined with the log lines of their host, and every
// rule looks at the result. With a read there are rules that change besides those of the file; they may look at any sample. told are those
// who are told of the alarms.
func pipeline(t topics, rules *health.Rules, read readRule, told *notices) (*processor.Topology, error) {
	b := processor.NewBuilder(app)
	b.DeadLetters(t.dead)
	b.CloseOnIdle(idle)
	samples := processor.From(b, t.metrics)
	if read == nil {
		samples = samples.Filter(watched(rules))
	}
	lines := processor.From(b, t.syslogs)
	incidents := join.Collect(samples, lines,
		join.Window{Name: "incidents", Within: rules.Within, Grace: grace, Emit: join.OnUpdate},
		func(m health.Metric, l []health.Syslog) health.Incident { return health.Incident{Sample: m, Lines: l} })
	lateSamples, lateLines := incidents.Late()
	processor.Map(lateSamples, func(m health.Metric) late { return late{Metric: &m} }).To(t.late)
	processor.Map(lateLines, func(l health.Syslog) late { return late{Syslog: &l} }).To(t.late)
	for _, rule := range rules.Rules {
		alerting.Threshold(incidents, rule).To(t.alarms)
	}
	if read != nil {
		live := changingRules(read)
		live.Changes = processor.From(b, t.changes)
		alerting.ThresholdLive(incidents, live).To(t.alarms)
	}
	if told != nil {
		told.tell(b, t)
	}
	return b.Build()
}

// changingRules are the rules that change while the program runs, but for where their changes come from.
func changingRules(read readRule) alerting.Live[health.Incident] {
	return alerting.Live[health.Incident]{Name: "changing-rules", Read: read, Series: func(i health.Incident) string { return i.Sample.Name }}
}

// watched keeps the samples that some rule looks at.
func watched(rules *health.Rules) func(health.Metric) bool {
	names := make(map[string]bool)
	for _, name := range rules.Series {
		names[name] = true
	}
	return func(m health.Metric) bool { return rules.All || names[m.Name] }
}

// alarmLine is what is printed of an alarm; schemas/alarm.json describes it.
type alarmLine struct {
	// ID is the same whenever this very change is printed again, which a crash between printing and noting it can cause.
	ID        string            `json:"id"`
	Rule      string            `json:"rule"`
	Host      string            `json:"host"`
	State     string            `json:"state"`
	Severity  string            `json:"severity"`
	Value     float64           `json:"value"`
	Sample    float64           `json:"sample,omitzero"`
	Peak      float64           `json:"peak,omitzero"`
	Threshold float64           `json:"threshold"`
	Since     time.Time         `json:"since"`
	At        time.Time         `json:"at"`
	Labels    map[string]string `json:"labels,omitempty"`
	Texts     map[string]string `json:"annotations,omitempty"`
	Reason    string            `json:"reason,omitzero"`
	Context   health.LogContext `json:"context"`
}

func newAlarmLine(id, host string, a alerting.Alarm) (alarmLine, error) {
	l := alarmLine{
		ID: id, Rule: a.Rule, Host: host, State: string(a.State), Severity: a.Severity,
		Value: a.Value, Sample: a.Sample, Peak: a.Peak, Threshold: a.Threshold, Since: a.Since.UTC(), At: a.At.UTC(),
		Labels: a.Labels, Texts: a.Annotations, Reason: a.Reason,
		Context: health.LogContext{BySeverity: map[string]int{}, Lines: []health.Line{}}, // of an alarm about nothing that has come
	}
	return l, json.Unmarshal(a.Context, &l.Context)
}
