package stream

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ackRouter takes the server's answers to all lanes of a client from one
// subscription to the sessions that they are for.
type ackRouter struct {
	inbox string

	mu       sync.RWMutex
	sessions map[string]*session
}

// router subscribes at the first use.
func (c *Client) router() (*ackRouter, error) {
	c.acksOnce.Do(func() {
		r := &ackRouter{inbox: c.nc.NewInbox(), sessions: make(map[string]*session)}
		sub, err := c.nc.Subscribe(r.inbox+".>", r.route)
		if err == nil {
			// The answers are few and small: one for hundreds of messages.
			err = sub.SetPendingLimits(-1, -1)
		}
		if err != nil {
			c.acksErr = fmt.Errorf("stream: subscribe to acknowledgements: %w", err)
			return
		}
		c.acks = r
	})
	return c.acks, c.acksErr
}

func (r *ackRouter) register(s *session) {
	r.mu.Lock()
	r.sessions[s.id] = s
	r.mu.Unlock()
}

func (r *ackRouter) forget(s *session) {
	r.mu.Lock()
	delete(r.sessions, s.id)
	r.mu.Unlock()
}

// route is called by the subscription's goroutine. Subjects are
// <inbox>.<session>.<flow>.fail.<seq>.<op>.$FI
func (r *ackRouter) route(m *nats.Msg) {
	if len(m.Subject) <= len(r.inbox) {
		return
	}
	id, at, ok := parseAnswerSubject(m.Subject[len(r.inbox)+1:])
	if !ok {
		return
	}
	r.mu.RLock()
	s := r.sessions[id]
	r.mu.RUnlock()
	if s == nil {
		return
	}
	if a, ok := parseAnswer(m); ok {
		s.lane.answered(s, at, a)
	}
}

// parseAnswerSubject reads <session>.<flow>.<gap>.<seq>.<op>.$FI
func parseAnswerSubject(s string) (session string, at uint64, ok bool) {
	tokens := strings.Split(s, ".")
	if len(tokens) != 6 {
		return "", 0, false
	}
	at, err := strconv.ParseUint(tokens[3], 10, 64)
	return tokens[0], at, err == nil
}

// answer is what the server says about a session.
type answer struct {
	nobody bool   // no server serves the subject
	kind   string // "ack", "gap" or "err"; "" for the end of the session
	seq    uint64 // of the message within the session, for ack and err; at the end, position of the last message
	count  uint64 // stored messages, at the end
	err    *jetstream.APIError
}

// parseAnswer reads an answer; false when it is none.
func parseAnswer(m *nats.Msg) (answer, bool) {
	if len(m.Data) == 0 {
		return answer{nobody: true}, m.Header.Get("Status") == "503"
	}
	var body struct {
		Type   string              `json:"type"`
		Seq    uint64              `json:"seq"`
		Count  uint64              `json:"count"`
		Stream string              `json:"stream"`
		Error  *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(m.Data, &body); err != nil {
		return answer{}, false
	}
	switch body.Type {
	case "ack", "gap":
		return answer{kind: body.Type, seq: body.Seq}, true
	case "err":
		if body.Error == nil {
			return answer{}, false
		}
		return answer{kind: body.Type, seq: body.Seq, err: body.Error}, true
	case "":
		if body.Error == nil && body.Stream == "" {
			return answer{}, false
		}
		return answer{seq: body.Seq, count: body.Count, err: body.Error}, true
	}
	return answer{}, false
}
