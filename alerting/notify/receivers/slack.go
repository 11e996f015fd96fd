package receivers

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// Slack posts to an incoming webhook. It knows no idempotency keys: a notification that comes again is shown again.
type Slack struct {
	HTTP
	// Channel is where to, if not where the webhook says.
	Channel string
	// Title and Text, if set, make those of the message. Labels and annotations are escaped in them, so that they are no markup of Slack's.
	Title, Text *Template
}

// Limits of Slack, in bytes: of a title, and of a text block.
const (
	maxSlackTitle = 1000
	maxSlackText  = 3000
)

var slackEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

type slackMessage struct {
	Channel     string            `json:"channel,omitempty"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Title    string `json:"title"`
	Fallback string `json:"fallback"`
	Text     string `json:"text"`
	Color    string `json:"color"`
	Footer   string `json:"footer"`
}

// Send implements notify.Target.Send.
func (s *Slack) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	n := &d.Value
	color := map[string]string{"critical": "danger", "error": "danger", "warning": "warning"}[worst(n.Alerts)]
	if !n.Firing() {
		color = "good"
	}
	escape := slackEscapes.Replace
	head := s.Title.words(n, maxSlackTitle, escape, cut(escape(title(n)), maxSlackTitle))
	text := s.Text.words(n, maxSlackText, escape, lines(n.Alerts, maxSlackText, escape))
	body, err := json.Marshal(slackMessage{Channel: s.Channel, Attachments: []slackAttachment{{
		Title: head, Fallback: head, Text: text, Color: color, Footer: string(n.Reason),
	}}})
	if err != nil {
		return fmt.Errorf("encode the message: %w", err)
	}
	return s.post(ctx, "", d.Token, body)
}
