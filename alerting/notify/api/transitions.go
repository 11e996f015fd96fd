package api

import (
	"context"
	"fmt"
	"time"

	"github.com/rossby-streams/rossby/alerting"
	"github.com/rossby-streams/rossby/stream"
)

// transition is a change in the life of an alarm.
type transition struct {
	Fingerprint string         `json:"fingerprint"`
	At          time.Time      `json:"at"`
	State       alerting.State `json:"state"`
	Severity    string         `json:"severity,omitzero"`
	Value       float64        `json:"value"`
	Reason      string         `json:"reason,omitzero"`
}

// String says it in a line.
func (t transition) String() string {
	text := fmt.Sprintf("  %s %s", t.At.UTC().Format(time.RFC3339), t.State)
	if t.Severity != "" {
		text += " (" + t.Severity + ")"
	}
	text += fmt.Sprintf(", value %v", t.Value)
	if t.Reason != "" {
		text += ": " + t.Reason
	}
	return text
}

// Bounds of what is told: how many records at the end of a partition are looked at, and how many transitions are told.
const (
	maxLookedAt    = 1000
	maxTransitions = 20
)

// transitions are the latest changes of alarms of a key, the oldest first.
func (s *Server) transitions(ctx context.Context, key string, of map[string]bool) (list []transition, err error) {
	topic := s.cfg.Alarms
	if topic.Name == "" || len(of) == 0 {
		return nil, nil
	}
	codec := topic.Codec
	if codec == nil {
		codec = stream.JSON[alerting.Alarm]()
	}
	err = s.tail(ctx, topic.Spec(), key, func(m stream.Message) {
		a, err := codec.Decode(m.Data)
		if err != nil || !of[a.Fingerprint()] {
			return
		}
		if len(list) == maxTransitions {
			list = list[1:]
		}
		list = append(list, transition{a.Fingerprint(), a.At.UTC(), a.State, a.Severity, a.Value, a.Reason})
	})
	if err != nil {
		return nil, fmt.Errorf("read the log of alarms: %w", err)
	}
	return list, nil
}

// tail hands over the last records of the partition that has a key.
func (s *Server) tail(ctx context.Context, spec stream.TopicSpec, key string, see func(stream.Message)) error {
	offsets, err := s.cfg.Client.Offsets(ctx, spec)
	if err != nil {
		return err
	}
	p := stream.Partition(key, len(offsets))
	if offsets[p].Records == 0 {
		return nil
	}
	last := offsets[p].Next - 1
	from := uint64(1)
	if last > maxLookedAt {
		from = max(from, last-maxLookedAt+1)
	}
	from = max(from, offsets[p].First)
	ended, failed := make(chan struct{}), make(chan error, 1)
	over := false
	reader, err := s.cfg.Client.OpenReader(ctx, spec, p, stream.ReaderConfig{
		From: from, Failed: func(err error) { failed <- err },
		Deliver: func(m stream.Message) {
			if over {
				return
			}
			see(m)
			if over = m.Offset >= last || m.Pending == 0; over {
				close(ended)
			}
		},
	})
	if err != nil {
		return err
	}
	defer reader.Close()
	select {
	case <-ended:
		return nil
	case err := <-failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}
