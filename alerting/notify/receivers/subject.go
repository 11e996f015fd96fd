package receivers

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/processor"
)

// Subject publishes notifications as JSON to a subject of NATS that a stream of JetStream holds, with the idempotency key as Nats-Msg-Id: the
// stream drops what comes again within its duplicate window.
type Subject struct {
	// Source, if set, makes the messages CloudEvents in the binary mode of the binding for NATS: it is their source, the idempotency key their id,
	// the group key their subject, "dev.rossby.notification" their type.
	Source string

	conn    *nats.Conn
	js      jetstream.JetStream
	subject string
}

// NewSubject returns a receiver for the subject.
func NewSubject(nc *nats.Conn, subject string) (*Subject, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, fmt.Errorf("receivers: subject %s: %w", subject, err)
	}
	return &Subject{conn: nc, js: js, subject: subject}, nil
}

// Published is the JSON on a subject.
type Published struct {
	notify.Notification
	// LeftOut is how many alerts were left out because the message would have been too large, WithoutContext that they have none.
	LeftOut        int  `json:"leftOut,omitzero"`
	WithoutContext bool `json:"withoutContext,omitzero"`
}

// Send implements notify.Target.Send.
func (s *Subject) Send(ctx context.Context, d processor.Delivery[notify.Notification]) error {
	header := s.cloudEvent(&d)
	size := 1 << 10 // room for those of the client
	for name, values := range header {
		size += len(name) + len(values[0]) + 4
	}
	body, err := fit(d.Value, int(s.conn.MaxPayload())-size)
	if err != nil {
		return err
	}
	_, err = s.js.PublishMsg(ctx, &nats.Msg{Subject: s.subject, Header: header, Data: body}, jetstream.WithMsgID(d.Token))
	if err != nil {
		return fmt.Errorf("publish to %s, which a stream must hold: %w", s.subject, err)
	}
	return nil
}

// cloudEvent are the headers that make a message a CloudEvent; none if it is not to be one.
func (s *Subject) cloudEvent(d *processor.Delivery[notify.Notification]) nats.Header {
	if s.Source == "" {
		return nats.Header{}
	}
	header := nats.Header{"Content-Type": {"application/json"}}
	for name, value := range map[string]string{
		"id": d.Token, "source": s.Source, "specversion": "1.0", "type": "dev.rossby.notification", "subject": d.Value.GroupKey,
		"time": d.Value.At.UTC().Format(time.RFC3339Nano),
	} {
		header["ce-"+name] = []string{encoded(value)}
	}
	return header
}

// encoded is a value as the binding has it in a header: what is not printable ASCII, and space, quote and percent, as %XX.
func encoded(value string) string {
	var b strings.Builder
	for i := range len(value) {
		if c := value[i]; c > ' ' && c < 0x7f && c != '"' && c != '%' {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// fit encodes a notification within a limit: without contexts if need be, and without alerts.
func fit(n notify.Notification, limit int) ([]byte, error) {
	p := Published{Notification: n}
	contexts := 0
	for i := range p.Alerts {
		contexts += len(p.Alerts[i].Context)
	}
	if contexts > limit {
		p = p.withoutContexts() // not encoded first: there may be very much of it
	}
	for {
		body, err := json.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("encode the notification: %w", err)
		}
		switch {
		case len(body) <= limit:
			return body, nil
		case !p.WithoutContext:
			p = p.withoutContexts()
		case len(p.Alerts) == 0:
			return nil, fmt.Errorf("%w: it has %d bytes without any alert, and %d are taken", notify.ErrRefused, len(body), limit)
		default:
			keep := min(len(p.Alerts)-1, len(p.Alerts)*limit/len(body))
			p.LeftOut += len(p.Alerts) - keep
			p.Alerts = p.Alerts[:keep]
			p.Added, p.Resolved = listed(p.Added, p.Alerts), listed(p.Resolved, p.Alerts)
		}
	}
}

func (p Published) withoutContexts() Published {
	p.Alerts, p.WithoutContext = slices.Clone(p.Alerts), true
	for i := range p.Alerts {
		p.Alerts[i].Context = nil
	}
	return p
}

// listed are the fingerprints of alerts that are there.
func listed(fingerprints []string, alerts []notify.Alert) []string {
	there := make(map[string]bool, len(alerts))
	for i := range alerts {
		there[alerts[i].Fingerprint] = true
	}
	return slices.DeleteFunc(slices.Clone(fingerprints), func(f string) bool { return !there[f] })
}
