package receivers

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// Alertmanager posts alerts to one, over its API v2. It groups and routes for itself: a route with GroupBy "..." and a short GroupWait
// hands each alert on as it is.
type Alertmanager struct {
	// HTTP is where it is, without /api/v2.
	HTTP
	// Hold is how long it keeps an alert that nothing more is heard of: more than the RepeatInterval of the route. Zero: 24 hours.
	Hold time.Duration
}

const defaultHold = 24 * time.Hour

// postable is an alert as the API takes it.
type postable struct {
	Labels       map[string]string `json:"labels"`
	Annotations  map[string]string `json:"annotations"`
	StartsAt     time.Time         `json:"startsAt"`
	EndsAt       time.Time         `json:"endsAt"`
	GeneratorURL string            `json:"generatorURL,omitempty"`
}

// Send implements notify.Target.Send.
func (a *Alertmanager) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	alerts := make([]postable, len(d.Value.Alerts))
	for i, one := range d.Value.Alerts {
		alerts[i] = postable{Labels: one.Labels, Annotations: filled(one.Annotations), StartsAt: one.StartsAt, EndsAt: one.EndsAt, GeneratorURL: one.GeneratorURL}
		if one.EndsAt.IsZero() {
			alerts[i].EndsAt = d.Value.At.Add(orDefault(a.Hold, defaultHold))
		}
	}
	body, err := json.Marshal(alerts)
	if err != nil {
		return fmt.Errorf("encode the alerts: %w", err)
	}
	return a.post(ctx, "/api/v2/alerts", d.Token, body)
}
