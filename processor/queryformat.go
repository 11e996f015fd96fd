package processor

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/rossby-streams/rossby/stream"
)

// What can be asked of a store: the last token of a subject.
const (
	verbGet     = "get"
	verbAsOf    = "as-of"
	verbRange   = "range"
	verbWindows = "windows"
	verbAll     = "all"
)

const (
	// queryRows and maxQueryRows are how many rows an answer has: by default, and at most.
	queryRows    = 100
	maxQueryRows = 1000
	// maxQueryWait is how long somebody may wait for an answer, in milliseconds.
	maxQueryWait = 3_600_000
	// queryRoom is what an answer takes beside its rows, in bytes, generously.
	queryRoom = 8 << 10
	// queryBytes is how large an answer of several rows gets, unless the server takes less.
	queryBytes = 256 << 10
)

// querySubject is where a store of a task is asked; "*" stands for all verbs. Standbys are asked elsewhere.
func querySubject(app, store string, partition int, standby bool, verb string) string {
	role := ""
	if standby {
		role = "standby."
	}
	return "rossby.query." + app + "." + store + "." + strconv.Itoa(partition) + "." + role + verb
}

// questionJSON is a question as it travels. Keys that are not UTF-8 travel escaped, as in subjects.
type questionJSON struct {
	Key     string `json:"key,omitzero"`         // of get, as-of and windows
	Escaped string `json:"escaped_key,omitzero"` // instead of Key
	From    string `json:"from,omitzero"`        // the first key of a range; the first time, RFC 3339
	To      string `json:"to,omitzero"`          // the key behind a range; the last time
	Limit   int    `json:"limit,omitzero"`
	After   string `json:"after,omitzero"`   // what the answer before said in More
	At      string `json:"at,omitzero"`      // of as-of: the event time, RFC 3339
	Wait    int    `json:"wait_ms,omitzero"` // how long somebody waits for the answer; 0: not said
}

// question is what is asked, checked.
type question struct {
	verb     string
	key      string
	from, to string // keys
	after    string // the last key that the asker has
	resumed  bool   // after counts
	since    time.Time
	until    time.Time
	skip     int // rows at since that the asker has
	limit    int
	more     string // what the answer before said; for encode
	at       time.Time
	wait     time.Duration // 0: unknown
}

// decodeQuestion reads a question. An error is the asker's mistake.
func decodeQuestion(verb string, data []byte) (question, error) {
	var in questionJSON
	if err := json.Unmarshal(data, &in, json.RejectUnknownMembers(true)); err != nil {
		return question{}, fmt.Errorf(`the request is no object such as {"key":"k"}: %w`, err)
	}
	q := question{verb: verb, key: in.Key, limit: cmp.Or(in.Limit, queryRows), since: minEventTime, until: maxEventTime}
	if in.Wait < 0 || in.Wait > maxQueryWait {
		return question{}, fmt.Errorf("wait_ms must be from 0 to %d, got %d", maxQueryWait, in.Wait)
	}
	q.wait = time.Duration(in.Wait) * time.Millisecond
	if q.limit < 1 || q.limit > maxQueryRows {
		return question{}, fmt.Errorf("the limit must be from 1 to %d rows, got %d", maxQueryRows, in.Limit)
	}
	if in.Escaped != "" {
		if in.Key != "" {
			return question{}, errors.New("there are both a key and an escaped_key: give one")
		}
		key, err := stream.UnescapeKey(in.Escaped)
		if err != nil {
			return question{}, fmt.Errorf("escaped_key %q: %w", in.Escaped, err)
		}
		q.key = key
	}
	if verb != verbAsOf && in.At != "" {
		return question{}, errors.New("at is for as-of")
	}
	switch verb {
	case verbGet, verbAsOf:
		if in.From != "" || in.To != "" || in.After != "" {
			return question{}, fmt.Errorf("%s takes a key and no range", verb)
		}
		if verb == verbGet {
			return q, nil
		}
		var err error
		if q.at, err = time.Parse(time.RFC3339Nano, in.At); err != nil {
			return question{}, fmt.Errorf("at: %w", err)
		}
		return q, nil
	case verbRange:
		return q, q.keyRange(in)
	case verbAll:
		return q, q.allKeys(in)
	default:
		return q, q.timeRange(in)
	}
}

// allKeys reads a question for the windows of all keys. After says how many rows of a key the asker has.
func (q *question) allKeys(in questionJSON) error {
	if in.Key != "" || in.Escaped != "" {
		return errors.New("all takes from, to, limit and after, and no key: use windows for one key")
	}
	after := in.After
	in.After = ""
	if err := q.timeRange(in); err != nil || after == "" {
		return err
	}
	skip, escaped, ok := strings.Cut(after, "/")
	skipped, err := strconv.Atoi(skip)
	key, err2 := stream.UnescapeKey(escaped)
	if !ok || err != nil || err2 != nil || skipped < 0 {
		return fmt.Errorf("after %q is not what an answer has said in more", after)
	}
	q.after, q.resumed, q.skip = key, true, skipped
	return nil
}

func (q *question) keyRange(in questionJSON) error {
	if in.Key != "" || in.Escaped != "" {
		return errors.New("range takes from, to, limit and after, and no key: use get for one key")
	}
	q.from, q.to = in.From, in.To
	if in.After == "" {
		return nil
	}
	key, err := stream.UnescapeKey(in.After)
	if err != nil {
		return fmt.Errorf("after %q is not what an answer has said in more: %w", in.After, err)
	}
	q.after, q.resumed = key, true
	return nil
}

func (q *question) timeRange(in questionJSON) (err error) {
	parse := func(name, text string, into *time.Time) {
		if text == "" || err != nil {
			return
		}
		if *into, err = time.Parse(time.RFC3339Nano, text); err != nil {
			err = fmt.Errorf("%s: %w", name, err)
		}
	}
	parse("from", in.From, &q.since)
	parse("to", in.To, &q.until)
	if err != nil || in.After == "" {
		return err
	}
	at, skip, ok := strings.Cut(in.After, "/")
	nanos, err1 := strconv.ParseInt(at, 10, 64)
	skipped, err2 := strconv.Atoi(skip)
	if !ok || err1 != nil || err2 != nil || skipped < 0 {
		return fmt.Errorf("after %q is not what an answer has said in more", in.After)
	}
	q.since, q.skip = fromNanos(nanos), skipped
	return nil
}

// encode writes the question for the wire.
func (q *question) encode() ([]byte, error) {
	out := questionJSON{Limit: q.limit, After: q.more, Wait: int(q.wait.Milliseconds())}
	switch q.verb {
	case verbRange:
		out.From, out.To = q.from, q.to
	case verbAll:
		out.From, out.To = q.since.Format(time.RFC3339Nano), q.until.Format(time.RFC3339Nano)
	default:
		if out.Key = q.key; !utf8.ValidString(q.key) {
			out.Key, out.Escaped = "", stream.EscapeKey(q.key)
		}
		if q.verb == verbAsOf {
			out.At = q.at.Format(time.RFC3339Nano)
		}
		if q.verb == verbWindows {
			out.From, out.To = q.since.Format(time.RFC3339Nano), q.until.Format(time.RFC3339Nano)
		}
	}
	return json.Marshal(out)
}

// answerJSON is an answer as it travels.
type answerJSON struct {
	Store      string           `json:"store"`
	Partition  int              `json:"partition"`
	Role       string           `json:"role"`
	Instance   string           `json:"instance"`
	Commit     uint64           `json:"commit"`
	StreamTime time.Time        `json:"stream_time,omitzero"`
	Age        float64          `json:"age,omitzero"`       // of a copy: seconds since it was known to have everything
	Committed  time.Time        `json:"committed,omitzero"` // of a copy: when its last commit was stored
	Behind     uint64           `json:"behind,omitzero"`    // of a copy: messages that the journal had behind it
	Positions  []positionJSON   `json:"positions"`
	Rows       []jsontext.Value `json:"rows"`
	More       string           `json:"more,omitzero"`
}

// The roles of who answers.
const (
	roleOwner   = "owner"
	roleStandby = "standby"
	roleGlobal  = "global" // every instance has all rows of a global table
)

type positionJSON struct {
	Topic string `json:"topic"`
	Next  uint64 `json:"next"`
}

// rowJSON is a row as it travels.
type rowJSON struct {
	Key     string         `json:"key"`
	Escaped string         `json:"escaped_key,omitzero"` // if the key is not UTF-8
	Value   jsontext.Value `json:"value"`
	Time    time.Time      `json:"time,omitzero"`
	Start   time.Time      `json:"start,omitzero"`
	End     time.Time      `json:"end,omitzero"`
}

func encodeRow(key string, s seen) ([]byte, error) {
	value, err := storeCodec[any]{}.Encode(s.value)
	if err != nil {
		return nil, fmt.Errorf("encode the value of key %q: %w", key, err)
	}
	row := rowJSON{Key: key, Value: value, Time: s.time, Start: s.window.Start, End: s.window.End}
	if !utf8.ValidString(key) {
		row.Escaped = stream.EscapeKey(key)
	}
	return json.Marshal(row, jsontext.AllowInvalidUTF8(true))
}

func readRow[V any](data []byte) (Row[V], error) {
	var in rowJSON
	if err := json.Unmarshal(data, &in, jsontext.AllowInvalidUTF8(true)); err != nil {
		return Row[V]{}, err
	}
	row := Row[V]{Key: in.Key, Time: in.Time, Window: Window{Start: in.Start, End: in.End}}
	var err error
	if in.Escaped != "" {
		row.Key, err = stream.UnescapeKey(in.Escaped)
	}
	if err == nil {
		row.Value, err = storeCodec[V]{}.Decode(in.Value)
	}
	return row, err
}

func readAnswer[V any](data []byte) (Answer[V], string, error) {
	var in answerJSON
	if err := json.Unmarshal(data, &in, jsontext.AllowInvalidUTF8(true)); err != nil {
		return Answer[V]{}, "", fmt.Errorf("read the answer: %w", err)
	}
	a := Answer[V]{
		Partition: in.Partition, Standby: in.Role == roleStandby, Instance: in.Instance,
		Commit: in.Commit, StreamTime: in.StreamTime,
		Age: time.Duration(in.Age * float64(time.Second)), Committed: in.Committed, Behind: in.Behind,
	}
	for _, p := range in.Positions {
		a.Positions = append(a.Positions, InputPosition(p))
	}
	for _, data := range in.Rows {
		row, err := readRow[V](data)
		if err != nil {
			return Answer[V]{}, "", fmt.Errorf("read a row of the answer: %w", err)
		}
		a.Rows = append(a.Rows, row)
	}
	return a, in.More, nil
}
