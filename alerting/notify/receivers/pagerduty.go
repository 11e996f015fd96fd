package receivers

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// PagerDuty sends events to its Events API v2. A group is one incident: it is triggered, updated and resolved under one dedup_key, so that an
// event which comes again changes nothing.
type PagerDuty struct {
	// HTTP is where the API is; the zero URL is that of PagerDuty.
	HTTP
	// RoutingKey is the integration's. Required.
	RoutingKey Secret
	// Source says what is affected. Empty: "rossby".
	Source string
	// Summary, if set, makes the summary, Alertmanager's description.
	Summary *Template
}

// Limits of the API, in bytes: of a summary, and of what an event may tell of its alerts, well below the 512 KB that it may have in all.
const (
	pagerDutyURL      = "https://events.pagerduty.com/v2/enqueue"
	maxSummary        = 1024
	maxCustomDetails  = 80_000  // what JSON escapes takes up to six times as much
	pagerDutySeverity = "error" // of alerts that do not say
)

type pagerDutyEvent struct {
	RoutingKey string            `json:"routing_key"`
	Action     string            `json:"event_action"`
	DedupKey   string            `json:"dedup_key"`
	Client     string            `json:"client"`
	Payload    *pagerDutyPayload `json:"payload,omitempty"`
}

type pagerDutyPayload struct {
	Summary   string            `json:"summary"`
	Source    string            `json:"source"`
	Severity  string            `json:"severity"`
	Timestamp time.Time         `json:"timestamp"`
	Group     string            `json:"group"`
	Details   map[string]string `json:"custom_details"`
}

// Send implements notify.Target.Send.
func (p *PagerDuty) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	key, err := p.RoutingKey.reveal()
	if err != nil {
		return fmt.Errorf("the routing key of PagerDuty: %w", err)
	}
	body, err := json.Marshal(p.event(&d.Value, key))
	if err != nil {
		return fmt.Errorf("encode the event: %w", err)
	}
	way := p.HTTP
	if way.URL.read == nil {
		way.URL = Text(pagerDutyURL)
	}
	return way.post(ctx, "", d.Token, body)
}

func (p *PagerDuty) event(n *notify.Notification, key string) pagerDutyEvent {
	group := sha256.Sum256([]byte(n.GroupKey))
	e := pagerDutyEvent{RoutingKey: key, Action: "trigger", DedupKey: hex.EncodeToString(group[:]), Client: "rossby"}
	if !n.Firing() {
		e.Action = "resolve"
	}
	severity := worst(n.Alerts)
	if severity == "" {
		severity = pagerDutySeverity
	}
	e.Payload = &pagerDutyPayload{
		Summary: p.Summary.words(n, maxSummary, unescaped, cut(title(n), maxSummary)), Source: p.Source, Severity: severity, Timestamp: n.At, Group: cut(n.GroupKey, maxSummary),
		Details: map[string]string{
			"reason": string(n.Reason), "alerts": lines(n.Alerts, maxCustomDetails, unescaped),
		},
	}
	if e.Payload.Source == "" {
		e.Payload.Source = "rossby"
	}
	return e
}
