package receivers

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// Webhook posts the JSON of Alertmanager's webhook, version 4, so that whatever takes that takes ours.
type Webhook struct {
	HTTP
	// MaxAlerts is how many alerts a message has; what is left out is counted in it. Zero: all.
	MaxAlerts int
	// MaxBytes bounds a message: one that is larger loses what its annotations have beyond 200 bytes, then alerts, which are counted in it.
	// Zero: 1 MiB.
	MaxBytes int
	// ExternalURL is where people find more; it is part of the message.
	ExternalURL string
}

// Message is Alertmanager's webhook message, with its fields in its order.
type Message struct {
	Receiver           string            `json:"receiver"`
	Status             string            `json:"status"`
	Alerts             []MessageAlert    `json:"alerts"`
	NotificationReason string            `json:"notification_reason"`
	GroupLabels        map[string]string `json:"groupLabels"`
	CommonLabels       map[string]string `json:"commonLabels"`
	CommonAnnotations  map[string]string `json:"commonAnnotations"`
	RouteLabels        map[string]string `json:"routeLabels"`
	ExternalURL        string            `json:"externalURL"`
	Version            string            `json:"version"`
	GroupKey           string            `json:"groupKey"`
	TruncatedAlerts    int               `json:"truncatedAlerts"`
}

// MessageAlert is an alert of a Message. EndsAt is the zero time while it fires.
type MessageAlert struct {
	Status       string            `json:"status"`
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL"`
	Fingerprint  string            `json:"fingerprint"`
}

// NewMessage makes the message of a notification, with at most maxAlerts alerts; 0: all.
func NewMessage(n *notify.Notification, maxAlerts int, externalURL string) Message {
	m := Message{
		Receiver: n.Receiver, Status: status(!n.Firing()), NotificationReason: string(n.Reason), GroupLabels: filled(n.GroupLabels),
		CommonLabels: map[string]string{}, CommonAnnotations: map[string]string{}, RouteLabels: map[string]string{}, ExternalURL: externalURL,
		Version: "4", GroupKey: n.GroupKey, Alerts: []MessageAlert{},
	}
	alerts := n.Alerts
	if maxAlerts > 0 && len(alerts) > maxAlerts {
		m.TruncatedAlerts, alerts = len(alerts)-maxAlerts, alerts[:maxAlerts]
	}
	for i, a := range alerts {
		if i == 0 {
			maps.Copy(m.CommonLabels, a.Labels)
			maps.Copy(m.CommonAnnotations, a.Annotations)
		}
		common(m.CommonLabels, a.Labels)
		common(m.CommonAnnotations, a.Annotations)
		m.Alerts = append(m.Alerts, MessageAlert{
			Status: status(!a.EndsAt.IsZero()), Labels: filled(a.Labels), Annotations: filled(a.Annotations), StartsAt: a.StartsAt, EndsAt: a.EndsAt,
			GeneratorURL: a.GeneratorURL, Fingerprint: a.Fingerprint,
		})
	}
	return m
}

func status(resolved bool) string {
	if resolved {
		return "resolved"
	}
	return "firing"
}

// filled is m, or an empty map for none: it is {} in JSON.
func filled(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}

// common keeps what is the same in both.
func common(all, one map[string]string) {
	maps.DeleteFunc(all, func(name, value string) bool {
		other, ok := one[name]
		return !ok || other != value
	})
}

const (
	maxWebhookBytes = 1 << 20
	shortAnnotation = 200
)

// Send implements notify.Target.Send.
func (w *Webhook) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	body, err := w.body(&d.Value)
	if err != nil {
		return err
	}
	return w.post(ctx, "", d.Token, body)
}

func (w *Webhook) body(n *notify.Notification) ([]byte, error) {
	limit := w.MaxBytes
	if limit <= 0 {
		limit = maxWebhookBytes
	}
	m, short := NewMessage(n, w.MaxAlerts, w.ExternalURL), false
	if m.annotated() > limit { // not encoded first: there may be very much of it
		m.shorten()
		short = true
	}
	for {
		body, err := json.Marshal(m)
		switch {
		case err != nil:
			return nil, fmt.Errorf("encode the message: %w", err)
		case len(body) <= limit:
			return body, nil
		case !short:
			m.shorten()
			short = true
		case len(m.Alerts) == 0:
			return nil, fmt.Errorf("%w: it has %d bytes without any alert, and MaxBytes is %d", notify.ErrRefused, len(body), limit)
		default:
			keep := min(len(m.Alerts)-1, len(m.Alerts)*limit/len(body))
			m.TruncatedAlerts += len(m.Alerts) - keep
			m.Alerts = m.Alerts[:keep]
		}
	}
}

// annotated is how many bytes annotations have.
func (m *Message) annotated() (size int) {
	for i := range m.Alerts {
		for _, text := range m.Alerts[i].Annotations {
			size += len(text)
		}
	}
	return size
}

// shorten cuts annotations: they may have the context of an alarm in them.
func (m *Message) shorten() {
	m.CommonAnnotations = shortened(m.CommonAnnotations)
	for i := range m.Alerts {
		m.Alerts[i].Annotations = shortened(m.Alerts[i].Annotations)
	}
}

func shortened(texts map[string]string) map[string]string {
	cuts := make(map[string]string, len(texts))
	for name, text := range texts {
		cuts[name] = cut(text, shortAnnotation)
	}
	return cuts
}
