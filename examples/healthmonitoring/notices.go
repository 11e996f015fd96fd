package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/rossby-streams/rossby/alerting/notify"
	"github.com/rossby-streams/rossby/alerting/notify/notifyfile"
	"github.com/rossby-streams/rossby/alerting/notify/receivers"
	"github.com/rossby-streams/rossby/processor"
)

// notices are who is told of alarms. Nil: nobody.
type notices struct {
	cfg     notify.Config
	ways    map[string]string // by receiver: how it is reached, as -tell says it
	targets []notify.Target
	posted  bool // alerts that are posted to -api are told of, too
}

// terminal is who is told of what with -api and without -notify: one group for each rule, on standard error.
const terminal = "terminal"

func terminalOnly() *notices {
	return &notices{posted: true, ways: map[string]string{terminal: terminal}, cfg: notify.Config{
		Route: notify.Route{
			Receiver: terminal, GroupBy: []string{notify.LabelName}, GroupWait: time.Second, GroupInterval: 10 * time.Second, RepeatInterval: time.Hour,
		},
		Receivers: []notify.Receiver{{Name: terminal, SendResolved: true}},
		KeyLabel:  "host",
	}}
}

// keepNotices is how long a stream for a subject keeps what was told.
const keepNotices = 24 * time.Hour

// loadNotices reads the file of -notify, and what -tell says of its receivers.
func loadNotices(o options) (*notices, error) {
	path := o.notify
	switch {
	case path == "" && o.api == "":
		return nil, nil
	case path == "":
		return terminalOnly(), nil
	}
	data, err := os.ReadFile(path) // #nosec: the user names it
	if err != nil {
		return nil, fmt.Errorf("%w: -notify: %w", errUsage, err)
	}
	n := &notices{ways: make(map[string]string), posted: o.api != ""}
	if n.cfg, err = notifyfile.Parse(data); err != nil {
		return nil, fmt.Errorf("%w: -notify %s: %w", errUsage, path, err)
	}
	for _, one := range o.tell {
		name, way, ok := strings.Cut(one, "=")
		if !ok || name == "" || way == "" {
			return nil, fmt.Errorf("%w: -tell %s: it is RECEIVER=ADDRESS", errUsage, name)
		}
		n.ways[name] = way
	}
	told := make(map[string]bool)
	for _, r := range n.cfg.Receivers {
		switch way, ok := n.ways[r.Name]; {
		case told[r.Name]:
			return nil, fmt.Errorf("%w: -notify %s: the receiver %s is there twice", errUsage, path, r.Name)
		case !ok:
			return nil, fmt.Errorf("%w: -notify %s: how is the receiver %s told? Say -tell %s=http://... or -tell %s=nats:SUBJECT", errUsage, path, r.Name, r.Name, r.Name)
		default:
			if _, err := hook(way); err != nil {
				return nil, fmt.Errorf("%w: -tell %s: %w", errUsage, r.Name, err)
			}
		}
		told[r.Name] = true
	}
	for name := range n.ways {
		if !told[name] {
			return nil, fmt.Errorf("%w: -tell %s: %s has no such receiver", errUsage, name, path)
		}
	}
	return n, nil
}

// hook is the URL of a web hook; the zero Secret for a subject.
func hook(way string) (receivers.Secret, error) {
	kind, rest, _ := strings.Cut(way, ":")
	switch {
	case rest == "":
	case kind == "nats":
		return receivers.Secret{}, nil
	case kind == "env":
		return receivers.Env(rest), nil
	case kind == "file":
		return receivers.File(rest), nil
	case kind == "http" || kind == "https":
		if u, err := url.Parse(way); err == nil && u.Host != "" {
			return receivers.Text(way), nil
		}
	}
	return receivers.Secret{}, errors.New("the address is http://..., https://..., env:VARIABLE or file:PATH with such a URL in it, or nats:SUBJECT")
}

// connect makes the targets, and the streams that hold subjects.
func (n *notices) connect(ctx context.Context, nc *nats.Conn, stderr io.Writer) error {
	for _, r := range n.cfg.Receivers {
		way := n.ways[r.Name]
		if way == terminal {
			n.targets = append(n.targets, notify.Target{Receiver: r.Name, Send: sayTo(stderr)})
			continue
		}
		url, err := hook(way)
		if err != nil {
			return err
		}
		target := notify.Target{Receiver: r.Name, Send: (&receivers.Webhook{HTTP: receivers.HTTP{URL: url}}).Send}
		if subject, ok := strings.CutPrefix(way, "nats:"); ok {
			if target.Send, err = sendTo(ctx, nc, subject); err != nil {
				return fmt.Errorf("-tell %s: %w", r.Name, err)
			}
		}
		n.targets = append(n.targets, target)
	}
	return nil
}

// sendTo returns what publishes to a subject, and sees to it that a stream holds it.
func sendTo(ctx context.Context, nc *nats.Conn, subject string) (func(context.Context, processor.Delivery[notify.Notification]) error, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	_, err = js.StreamNameBySubject(ctx, subject)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		name := "NOTICES-" + strings.NewReplacer(".", "_", " ", "_").Replace(subject)
		_, err = js.CreateStream(ctx, jetstream.StreamConfig{Name: name, Subjects: []string{subject}, MaxAge: keepNotices})
	}
	if err != nil {
		return nil, fmt.Errorf("a stream for the subject %s: %w", subject, err)
	}
	s, err := receivers.NewSubject(nc, subject)
	if err != nil {
		return nil, err
	}
	return s.Send, nil
}

// tell puts the receivers behind the alarms.
func (n *notices) tell(b *processor.Builder, t topics) {
	in := notify.Inputs{Alarms: processor.From(b, t.alarms), Silences: processor.From(b, t.silences)}
	if n.posted {
		in.Alerts = processor.From(b, t.posted)
	}
	told := notify.NotifyAll(in, n.cfg)
	for _, target := range n.targets {
		notify.Deliver(b, told, target)
	}
}

// sayTo returns what prints notices.
func sayTo(w io.Writer) func(context.Context, processor.Delivery[notify.Notification]) error {
	return func(_ context.Context, d processor.Delivery[notify.Notification]) error {
		_, err := fmt.Fprintln(w, "notice:", noticeText(&d.Value))
		return err
	}
}

// noticeText is a notice in a line: why, and the alerts.
func noticeText(n *notify.Notification) string {
	texts := make([]string, len(n.Alerts))
	for i := range n.Alerts {
		a := &n.Alerts[i]
		state := "firing"
		if !a.EndsAt.IsZero() {
			state = "resolved"
		}
		texts[i] = fmt.Sprintf("%s of %s %s", a.Labels[notify.LabelName], a.Labels["host"], state)
	}
	return string(n.Reason) + ": " + strings.Join(texts, ", ")
}
