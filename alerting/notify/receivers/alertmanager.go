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
// hands each alert on as it is. What is larger than 1 MiB loses what its annotations have beyond 200 bytes, and goes in several requests if need
// be: no alert is left out.
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
	return a.postAll(ctx, d.Token, alerts, false)
}

// postAll posts alerts within bounds. Posted again they are the same alerts, so that a failure amid them does no harm.
func (a *Alertmanager) postAll(ctx context.Context, token string, alerts []postable, short bool) error {
	body, err := json.Marshal(alerts)
	switch {
	case err != nil:
		return fmt.Errorf("encode the alerts: %w", err)
	case len(body) <= maxWebhookBytes || short && len(alerts) < 2:
		return a.post(ctx, "/api/v2/alerts", token, body)
	case !short:
		for i := range alerts {
			alerts[i].Annotations = shortened(alerts[i].Annotations)
		}
		return a.postAll(ctx, token, alerts, true)
	}
	half := len(alerts) / 2
	if err := a.postAll(ctx, token+"/0", alerts[:half], true); err != nil {
		return err
	}
	return a.postAll(ctx, token+"/1", alerts[half:], true)
}
