package scenario

import (
	"fmt"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/rossby-streams/rossby/processor"
	"github.com/rossby-streams/rossby/stream"
)

// world is where a case takes place: a driver, or an app and a server.
type world interface {
	// send stores the record and returns when all that comes of it has come.
	send(r record) error
	// restart ends the tasks and restores them.
	restart() error
	// setClock tells the world what time it is, as far as it can be told.
	setClock(now time.Time)
	// news returns what the case's one topic has got since the last call.
	news() ([]message, error)
	// close ends everything that runs.
	close() error
}

// record is an input on its way.
type record struct {
	topic   stream.TopicSpec
	key     string
	data    []byte // none: a tombstone
	at      time.Time
	headers stream.Headers
	table   bool // the topic takes tombstones
	global  bool // it is a global table
}

// message is a message of the case's one topic, from either kind of world.
type message struct {
	key     string
	data    []byte
	headers stream.Headers
}

// parsed is what a message says.
type parsed struct {
	kind   entryKind // empty: a dead letter
	fence  string
	seen   []string
	out    output
	reason string // of a dead letter
}

func (m *message) parse() (parsed, error) {
	if operator := m.headers.Get(processor.DeadOperator); operator != "" {
		return parsed{reason: operator + ": " + m.headers.Get(processor.DeadError)}, nil
	}
	var e entry
	if err := json.Unmarshal(m.data, &e, json.RejectUnknownMembers(true)); err != nil {
		return parsed{}, fmt.Errorf("the topic of results has a message that is none of ours: %w", err)
	}
	p := parsed{kind: e.Kind, fence: e.Fence, seen: e.Seen, out: output{Key: m.key, Value: e.Value, Time: time.Unix(0, e.At), Headers: userHeaders(m.headers)}}
	if e.Window != nil {
		p.out.Window = &[2]time.Time{time.Unix(0, e.Window[0]), time.Unix(0, e.Window[1])}
	}
	return p, nil
}

// userHeaders leaves out what belongs to the message and not to the record.
func userHeaders(all stream.Headers) map[string][]string {
	kept := make(map[string][]string)
	for name, values := range all {
		if name != stream.TimeHeader && !strings.HasPrefix(name, "Nats-") {
			kept[name] = values
		}
	}
	return kept
}

// headersOf returns the headers of an input, its event time among them.
func headersOf(r *record) stream.Headers {
	h := r.headers.Clone()
	h.Set(stream.TimeHeader, r.at.UTC().Format(time.RFC3339Nano))
	return h
}
