package api

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/alerting/notify"
)

// explanation is an alarm, explained: by its rule, and by who is told.
type explanation struct {
	Rule   []alerting.Explanation `json:"rule"`
	Notify []explainedAlert       `json:"notify"`
	// Transitions are the latest changes of it, the oldest first.
	Transitions []transition `json:"transitions"`
}

// explainedAlert is what becomes of an alert.
type explainedAlert struct {
	At           time.Time                `json:"at"`
	Known        bool                     `json:"known"`
	Alert        gettableAlert            `json:"alert"`
	Silences     []notify.Silence         `json:"silences"`
	Acknowledged []notify.Acknowledgement `json:"acknowledgements"`
	Inhibitors   []notify.Alert           `json:"inhibitors"`
	Routes       []explainedRoute         `json:"routes"`
	Text         string                   `json:"text"`
}

type explainedRoute struct {
	Route       string            `json:"route"`
	Receiver    string            `json:"receiver"`
	GroupKey    string            `json:"groupKey"`
	GroupLabels map[string]string `json:"groupLabels"`
	Next        time.Time         `json:"next,omitzero"`
	Others      int               `json:"others"`
	Told        []explainedTold   `json:"told"`
}

type explainedTold struct {
	Receiver    string    `json:"receiver"`
	Integration int       `json:"integration"`
	At          time.Time `json:"at,omitzero"`
	AsFiring    bool      `json:"asFiring"`
	AsResolved  bool      `json:"asResolved"`
	Repeat      time.Time `json:"repeat,omitzero"`
}

// asked is what an explanation is asked of: a fingerprint, or a rule and a key, maybe with labels.
type asked struct {
	fingerprint, rule, key string
	labels                 map[string]string
}

func readAsked(r *http.Request) (a asked, err error) {
	v := r.URL.Query()
	a = asked{fingerprint: v.Get("fingerprint"), rule: v.Get("rule"), key: v.Get("key"), labels: make(map[string]string)}
	if len(v["label"]) > maxFilters {
		return a, fail(http.StatusBadRequest, "there are %d labels: at most %d are taken", len(v["label"]), maxFilters)
	}
	for _, text := range v["label"] {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return a, fail(http.StatusBadRequest, "label is %.200q: give name=value", text)
		}
		a.labels[name] = value
	}
	if (a.fingerprint == "") == (a.rule == "" && len(a.labels) == 0) {
		return a, fail(http.StatusBadRequest, "give fingerprint, or rule and key, or labels")
	}
	return a, nil
}

// explain answers why an alarm fires or does not, who is told of it, and what mutes it.
func (s *Server) explain(r *http.Request) (any, error) {
	a, err := readAsked(r)
	if err != nil {
		return nil, err
	}
	e, of, err := s.explained(r, a)
	if err != nil {
		return nil, err
	}
	if r.URL.Query().Get("format") != "text" {
		return dated{of, e}, nil
	}
	var b strings.Builder
	for _, rule := range e.Rule {
		b.WriteString(rule.String() + "\n")
	}
	for _, t := range e.Transitions {
		b.WriteString(t.String() + "\n")
	}
	for _, n := range e.Notify {
		b.WriteString(n.Text)
	}
	return dated{of, text(b.String())}, nil
}

func (s *Server) explained(r *http.Request, a asked) (e explanation, of notify.Freshness, err error) {
	if a.rule != "" {
		if e.Rule, err = s.rule(r, a.rule, a.key); err != nil {
			return e, of, err
		}
	}
	err = s.inquiry.Look(r.Context(), func(d *notify.Dispatcher, fresh notify.Freshness) error {
		now := time.Now()
		of = fresh
		for _, n := range s.alertsOf(d, a, e.Rule, now) {
			e.Notify = append(e.Notify, s.explainedAlert(&n, now))
		}
		return nil
	})
	if err != nil {
		return e, of, err
	}
	if labels := e.Notify[0].Alert.Labels; a.fingerprint != "" && len(labels) > 0 {
		if a.key = labels[s.keyLabel()]; a.key != "" {
			if e.Rule, err = s.rule(r, labels[notify.LabelName], a.key); err != nil {
				return e, of, err
			}
		}
		e.Rule = slices.DeleteFunc(e.Rule, func(one alerting.Explanation) bool { return one.Fingerprint != a.fingerprint })
	}
	if len(e.Rule) > 0 {
		a.key = e.Rule[0].Key // as the app has it
	}
	e.Transitions, err = s.transitions(r.Context(), a.key, e.fingerprints())
	return e, of, err
}

// fingerprints are those of all that is explained.
func (e *explanation) fingerprints() map[string]bool {
	all := make(map[string]bool)
	for _, one := range e.Rule {
		all[one.Fingerprint] = true
	}
	for _, one := range e.Notify {
		if one.Known {
			all[one.Alert.Fingerprint] = true
		}
	}
	return all
}

func (s *Server) rule(r *http.Request, rule, key string) ([]alerting.Explanation, error) {
	if s.cfg.Rules == nil {
		return nil, nil
	}
	return s.cfg.Rules(r.Context(), rule, key)
}

func (s *Server) keyLabel() string {
	if s.cfg.Notify.KeyLabel != "" {
		return s.cfg.Notify.KeyLabel
	}
	return notify.LabelKey
}

// alertsOf explains the alerts that are meant: of a rule those that its explanations name, and one that is not there if none is.
func (s *Server) alertsOf(d *notify.Dispatcher, a asked, rules []alerting.Explanation, now time.Time) (list []notify.Explanation) {
	if a.fingerprint != "" {
		return []notify.Explanation{d.Explain(a.fingerprint, now)}
	}
	for _, rule := range rules {
		if one := d.Explain(rule.Fingerprint, now); one.Known {
			list = append(list, one)
		}
	}
	if len(list) > 0 {
		return list
	}
	labels := a.labels
	if a.rule != "" {
		labels[notify.LabelName] = a.rule
		if len(rules) > 0 && rules[0].Severity != "" {
			labels[notify.LabelSeverity] = rules[0].Severity
		}
	}
	if a.key != "" {
		labels[s.keyLabel()] = a.key
	}
	if len(rules) > 0 {
		for name, value := range rules[0].Labels {
			labels[name] = value
		}
	}
	if one := d.Explain(notify.Fingerprint(labels), now); one.Known {
		return []notify.Explanation{one}
	}
	return []notify.Explanation{d.ExplainLabels(labels, now)}
}

func (s *Server) explainedAlert(n *notify.Explanation, now time.Time) explainedAlert {
	e := explainedAlert{
		At: n.At.UTC(), Known: n.Known, Alert: s.gettable(&n.Listed, now), Silences: n.Silences, Acknowledged: n.Acknowledgements, Inhibitors: n.Inhibitors,
		Text: n.String(),
	}
	for i := range e.Inhibitors {
		e.Inhibitors[i].Context = nil // it may be large
	}
	for _, r := range n.Routes {
		route := explainedRoute{Route: r.Route, Receiver: r.Receiver, GroupKey: r.Group, GroupLabels: r.GroupLabels, Next: r.Next, Others: r.Others}
		for _, t := range r.Told {
			route.Told = append(route.Told, explainedTold{t.Receiver, t.Integration, t.At, t.AsFiring, t.AsResolved, t.Repeat})
		}
		e.Routes = append(e.Routes, route)
	}
	return e
}
