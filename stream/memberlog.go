package stream

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// The log of all groups: one backing stream that keeps the last entry of each
// subject. The server writes it in one order, and an entry only if the last one of
// its subject is the one that the writer knows: that order is what members agree on.
const (
	groupsStream  = reservedPrefix + "-groups"
	groupsSubject = reservedPrefix + ".groups."
	memberToken   = "m."
	claimToken    = "c."
	// markerTTL is how long the log keeps that a member has gone.
	markerTTL = time.Minute
)

// memberEntry is what a member says of itself, and again with each heartbeat.
type memberEntry struct {
	Nonce   string        `json:"nonce"` // of this life of the member
	Static  bool          `json:"static,omitempty"`
	Session time.Duration `json:"session"`
	Level   int           `json:"level,omitempty"`   // as in MembershipConfig
	Standby bool          `json:"standby,omitempty"` // as in MembershipConfig
	Ready   []string      `json:"ready,omitempty"`   // items of others of which it has a warm copy
	Gone    string        `json:"gone,omitempty"`    // "left" or "silent": the member is none any more
}

// claimEntry says who holds an item, and where it goes on.
type claimEntry struct {
	Member string `json:"member,omitempty"` // empty: nobody
	Nonce  string `json:"nonce,omitempty"`
	Next   uint64 `json:"next,omitempty"`
}

// errOutdated says that the last entry of a subject is another one than the writer
// knows.
var errOutdated = errors.New("stream: the entry has been overtaken")

// logEntry is an entry to be written.
type logEntry struct {
	subject  string
	body     any
	expected uint64        // sequence of the subject's last entry, 0 for none
	ttl      time.Duration // 0: it stays
}

// openGroupsStream makes the log where it is missing.
func (c *Client) openGroupsStream(ctx context.Context) error {
	err := c.ask(ctx, func(ctx context.Context) error {
		_, err := c.js.Stream(ctx, groupsStream)
		if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return err
		}
		_, err = c.js.CreateStream(ctx, jetstream.StreamConfig{
			Name:              groupsStream,
			Description:       "Rossby: members of consumer groups and what they hold",
			Subjects:          []string{groupsSubject + ">"},
			Storage:           c.cfg.Storage.jetstream(),
			Replicas:          c.cfg.Replicas,
			MaxMsgsPerSubject: 1,
			AllowMsgTTL:       true,
			Metadata:          map[string]string{metaVersion: layoutVersion},
		})
		if errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
			return nil // another member has just made it
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open stream %s: %w", groupsStream, err)
	}
	return nil
}

// write appends an entry and gives its sequence. It fails with errOutdated, and
// nothing is written, if the subject's last entry is not the expected one.
func (c *Client) write(ctx context.Context, e logEntry) (uint64, error) {
	data, err := json.Marshal(e.body)
	if err != nil {
		return 0, err
	}
	opts := []jetstream.PublishOpt{jetstream.WithExpectLastSequencePerSubject(e.expected), jetstream.WithRetryAttempts(0)}
	if e.ttl > 0 {
		opts = append(opts, jetstream.WithMsgTTL(max(e.ttl.Round(time.Second), time.Second)))
	}
	var seq uint64
	outdated := false
	err = c.ask(ctx, func(ctx context.Context) error {
		ack, err := c.js.PublishMsg(ctx, &nats.Msg{Subject: e.subject, Data: data}, opts...)
		if err == nil {
			seq = ack.Sequence
			return nil
		}
		var api *jetstream.APIError
		if !errors.As(err, &api) || api.ErrorCode != codeWrongLastSeq && api.ErrorCode != codeWrongLastSeqInProcess {
			return err
		}
		// It may be this entry itself, when the answer to an earlier attempt was lost.
		last, err := c.lastEntry(ctx, e.subject)
		if err != nil {
			return err
		}
		if last == nil || last.Seq <= e.expected || !bytes.Equal(last.Data, data) {
			if api.ErrorCode == codeWrongLastSeqInProcess && last != nil && last.Seq == e.expected {
				return fmt.Errorf("another entry is being written: %w", nats.ErrTimeout)
			}
			outdated = true
			return nil
		}
		seq = last.Seq
		return nil
	})
	if err == nil && outdated {
		return 0, errOutdated
	}
	return seq, err
}

// lastEntry asks the leader for the last entry of a subject; nil: there is none, or
// no log.
func (c *Client) lastEntry(ctx context.Context, subject string) (*storedMsg, error) {
	req, err := json.Marshal(map[string]string{"last_by_subj": subject})
	if err != nil {
		return nil, err
	}
	m, err := c.getMsg(ctx, groupsStream, req)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	return m, err
}

// groupEntries calls see for every entry under a subject prefix, in order. A log
// that does not exist has none.
func (c *Client) groupEntries(ctx context.Context, prefix string, see func(rest string, m *storedMsg) error) error {
	for next := uint64(1); ; {
		req, err := json.Marshal(map[string]any{"seq": next, "next_by_subj": groupsSubject + prefix + ">"})
		if err != nil {
			return err
		}
		m, err := c.getMsg(ctx, groupsStream, req)
		if errors.Is(err, jetstream.ErrStreamNotFound) || err == nil && m == nil {
			return nil
		}
		if err != nil {
			return err
		}
		if err := see(strings.TrimPrefix(m.Subject, groupsSubject+prefix), m); err != nil {
			return err
		}
		next = m.Seq + 1
	}
}

// forgetGroups removes the entries under a subject prefix.
func (c *Client) forgetGroups(ctx context.Context, prefix string) error {
	err := c.ask(ctx, func(ctx context.Context) error {
		s, err := c.js.Stream(ctx, groupsStream)
		if err != nil {
			return err
		}
		return s.Purge(ctx, jetstream.WithPurgeSubject(groupsSubject+prefix+">"))
	})
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	return err
}
