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

// Send implements notify.Target.Send.
func (w *Webhook) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	body, err := json.Marshal(NewMessage(&d.Value, w.MaxAlerts, w.ExternalURL))
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	return w.post(ctx, "", d.Token, body)
}
