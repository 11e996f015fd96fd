package api

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/stream"
)

// gettableAlert is an alert as Alertmanager's API tells it.
type gettableAlert struct {
	Annotations  map[string]string `json:"annotations"`
	EndsAt       time.Time         `json:"endsAt"`
	Fingerprint  string            `json:"fingerprint"`
	Receivers    []receiver        `json:"receivers"`
	StartsAt     time.Time         `json:"startsAt"`
	Status       alertStatus       `json:"status"`
	UpdatedAt    time.Time         `json:"updatedAt"`
	GeneratorURL string            `json:"generatorURL,omitzero"`
	Labels       map[string]string `json:"labels"`
}

type receiver struct {
	Name string `json:"name"`
}

type alertStatus struct {
	InhibitedBy    []string `json:"inhibitedBy"`
	MutedBy        []string `json:"mutedBy"`
	SilencedBy     []string `json:"silencedBy"`
	State          string   `json:"state"`
	AcknowledgedBy []string `json:"acknowledgedBy,omitempty"`
}

type alertGroup struct {
	Alerts   []gettableAlert   `json:"alerts"`
	Labels   map[string]string `json:"labels"`
	Receiver receiver          `json:"receiver"`
}

func (s *Server) gettable(l *notify.Listed, now time.Time) gettableAlert {
	g := gettableAlert{
		Annotations: l.Annotations, EndsAt: l.EndsAt.UTC(), Fingerprint: l.Fingerprint, StartsAt: l.StartsAt.UTC(), UpdatedAt: l.Updated.UTC(),
		GeneratorURL: l.GeneratorURL, Labels: l.Labels, Status: statusOf(&l.Status),
	}
	if l.EndsAt.IsZero() {
		g.EndsAt = now.Add(s.cfg.ResolveTimeout).UTC()
	}
	for _, name := range l.Receivers {
		g.Receivers = append(g.Receivers, receiver{name})
	}
	return g
}

func statusOf(s *notify.Status) alertStatus {
	status := alertStatus{InhibitedBy: s.InhibitedBy, MutedBy: s.MutedBy, SilencedBy: s.SilencedBy, State: "active", AcknowledgedBy: s.AcknowledgedBy}
	if s.Suppressed() {
		status.State = "suppressed"
	}
	return status
}

func (s *Server) listAlerts(r *http.Request) (any, error) {
	q, err := readQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list := dated{}
	err = s.inquiry.Look(r.Context(), func(d *notify.Dispatcher, of notify.Freshness) error {
		alerts, now := []gettableAlert{}, time.Now()
		for _, l := range d.List(now) {
			if q.wants(&l) && q.wantsReceiver(l.Receivers...) {
				alerts = append(alerts, s.gettable(&l, now))
			}
		}
		list = dated{of, alerts}
		return nil
	})
	return list, err
}

func (s *Server) listGroups(r *http.Request) (any, error) {
	q, err := readQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	list := dated{}
	err = s.inquiry.Look(r.Context(), func(d *notify.Dispatcher, of notify.Freshness) error {
		groups, now := []alertGroup{}, time.Now()
		for _, g := range d.ListGroups(now) {
			group := alertGroup{Labels: g.Labels, Receiver: receiver{g.Receiver}}
			for i := range g.Alerts {
				if q.wants(&g.Alerts[i]) {
					group.Alerts = append(group.Alerts, s.gettable(&g.Alerts[i], now))
				}
			}
			if len(group.Alerts) > 0 && q.wantsReceiver(g.Receiver) {
				groups = append(groups, group)
			}
		}
		list = dated{of, groups}
		return nil
	})
	return list, err
}

// postableAlert is an alert as it is posted.
type postableAlert struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
}

// decodeAlerts reads posted alerts: those that are valid, and what is wrong with each of the others. The error is about the body as a whole.
func decodeAlerts(data []byte, now time.Time, resolveTimeout time.Duration) (alerts []notify.Alert, refused []error, err error) {
	var posted []jsontext.Value
	if err := json.Unmarshal(data, &posted); err != nil {
		return nil, nil, fail(http.StatusBadRequest, "the body is no list of alerts: %w", err)
	}
	for i, raw := range posted {
		alert, err := decodeAlert(raw, now, resolveTimeout)
		if err != nil {
			refused = append(refused, fmt.Errorf("alert %d: %w", i, err))
			continue
		}
		alerts = append(alerts, alert)
	}
	return alerts, refused, nil
}

// decodeAlert reads one alert. Times that are missing, and labels without a value, are as Alertmanager has them.
func decodeAlert(raw []byte, now time.Time, resolveTimeout time.Duration) (notify.Alert, error) {
	var p postableAlert
	if err := json.Unmarshal(raw, &p); err != nil {
		return notify.Alert{}, err
	}
	a := notify.Alert{Labels: make(map[string]string, len(p.Labels)), Annotations: p.Annotations, StartsAt: p.StartsAt, EndsAt: p.EndsAt, GeneratorURL: p.GeneratorURL}
	for name, value := range p.Labels {
		if value != "" {
			a.Labels[name] = value
		}
	}
	switch {
	case a.StartsAt.IsZero() && a.EndsAt.IsZero():
		a.StartsAt = now
	case a.StartsAt.IsZero():
		a.StartsAt = a.EndsAt
	}
	if a.EndsAt.IsZero() {
		a.EndsAt = now.Add(resolveTimeout)
	}
	if a.GeneratorURL != "" {
		if u, err := url.Parse(a.GeneratorURL); err != nil || len(a.GeneratorURL) > maxPattern || u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https" {
			return a, fmt.Errorf("generatorURL %.100q is no address of the web", a.GeneratorURL)
		}
	}
	if err := a.Validate(); err != nil {
		return a, err
	}
	a.Fingerprint = notify.Fingerprint(a.Labels)
	return a, nil
}

func (s *Server) postAlerts(r *http.Request) (any, error) {
	if s.alerts == nil {
		return nil, fail(http.StatusNotImplemented, "this app takes no alerts from elsewhere: see api.Config.Alerts")
	}
	data, err := body(r, maxAlertsBody)
	if err != nil {
		return nil, err
	}
	alerts, refused, err := decodeAlerts(data, time.Now().UTC(), s.cfg.ResolveTimeout)
	if err != nil {
		return nil, err
	}
	if err := s.store(r, alerts); err != nil {
		return nil, err
	}
	if len(refused) > 0 {
		return nil, errorsOf(refused, len(alerts)+len(refused))
	}
	return nil, nil
}

// store returns when alerts are in the topic.
func (s *Server) store(r *http.Request, alerts []notify.Alert) error {
	for _, a := range alerts {
		if err := s.alerts.Send(r.Context(), stream.ProducerRecord[notify.Alert]{Key: a.Fingerprint, Value: a}); err != nil {
			return fmt.Errorf("store the alert %s: %w", a.Fingerprint, err)
		}
	}
	if err := s.alerts.Flush(r.Context()); err != nil {
		return fmt.Errorf("store the alerts: %w", err)
	}
	return nil
}
