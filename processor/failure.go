package processor

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/engine"
	"github.com/rossby-streams/rossby/stream"
)

// Headers of a dead letter, beside those that the record came with. Its key and value are the record's own; where the key is too long
// for a subject, it is in stream.KeyHeader, escaped, and the letter has none. Its event time is the record's where that does not
// follow from the value. What a timer or a store has failed on has no record: such a letter has neither value nor place. That of a
// Stream.Deliver holds the record that nobody took, as JSON with its key and event time, and says where the record was read that it comes from.
const (
	DeadTopic     = "Rossby-Dead-Topic"     // where the record was read
	DeadPartition = "Rossby-Dead-Partition" // likewise
	DeadOffset    = "Rossby-Dead-Offset"    // likewise
	DeadOperator  = "Rossby-Dead-Operator"  // what refused it, with file and line
	DeadError     = "Rossby-Dead-Error"     // why, cut at 1 KiB
	DeadStack     = "Rossby-Dead-Stack"     // where it panicked, if it did, cut at 4 KiB
	DeadAttempt   = "Rossby-Dead-Attempt"   // how often the operator was called in all, over retries and redrives
	DeadTime      = "Rossby-Dead-Time"      // when it failed, RFC 3339
	// DeadPartial is "true" if only a part of the record's work has failed: see Partial.
	DeadPartial = "Rossby-Dead-Partial"
	// DeadRepartitioned marks a record of a repartition topic: event time, and start, end and close of its window, in
	// nanoseconds since 1970.
	DeadRepartitioned = "Rossby-Dead-Repartitioned"
)

// AttemptHeader says of a redriven record how often it has failed before. Operators do not see it.
const AttemptHeader = "Rossby-Attempt"

// deadPrefix is what the headers of dead letters begin with.
const deadPrefix = "Rossby-Dead-"

// ErrFailedRecord is what the error of App.Run wraps when the policy is Stop and a record has failed.
var ErrFailedRecord = errors.New("a record failed and the policy is to stop")

const (
	maxErrorHeader = 1 << 10
	maxStackHeader = 4 << 10
)

// unansweredFailure returns what the engine does with failures that it finds itself: values that a store cannot encode.
func (sub *subTopology) unansweredFailure() func(*engine.Task, engine.Failure) error {
	return func(task *engine.Task, f engine.Failure) error {
		o := operator{task: task, sub: sub, name: f.Operator, policy: sub.topology.policy}
		owner, _, _ := strings.Cut(strings.TrimPrefix(f.Operator, "store "), ".")
		for _, v := range sub.vertices {
			if v.kind == kindProcess && v.name == owner {
				o.policy = *v.policy
			}
		}
		o.fail(f.Err, 1)
		return nil
	}
}

func stopError(f engine.Failure) error {
	if f.Record == nil {
		return fmt.Errorf("%w: %s: %w", ErrFailedRecord, f.Operator, f.Err)
	}
	return fmt.Errorf("%w: topic %s, partition %d, offset %d, key %q: %s: %w",
		ErrFailedRecord, f.Record.Topic, f.Record.Partition, f.Record.Offset, f.Record.Key, f.Operator, f.Err)
}

// sendDeadLetter sends a failure to the dead letter topic, or stops the task if there is no way.
func (sub *subTopology) sendDeadLetter(task *engine.Task, f engine.Failure) {
	letter := engine.Emitted{Sink: sub.letters}
	headers := make(stream.Headers)
	attempt := f.Tries
	if raw := f.Record; raw != nil {
		if user := userHeaders(raw.Headers).Clone(); user != nil {
			headers = user
		}
		headers.Set(DeadTopic, raw.Topic)
		headers.Set(DeadPartition, strconv.Itoa(raw.Partition))
		headers.Set(DeadOffset, strconv.FormatUint(raw.Offset, 10))
		attempt += attemptsBefore(raw.Headers)
		sub.keepEventTime(headers, raw)
		letter.Key, letter.Data = raw.Key, raw.Data
	}
	setFailure(headers, f.Operator, f.Err, attempt, task.World().Now())
	if f.Partial {
		headers.Set(DeadPartial, "true")
	}
	if sub.topology.deadLetters.CheckKey(letter.Key) != nil {
		// It came from a topic whose keys are in headers, and so it goes on.
		headers.Set(stream.KeyHeader, stream.EscapeKey(letter.Key))
		letter.Key = ""
	}
	letter.Headers = headers
	letter.Partition = partitionOf(task, letter.Key, sub.topology.deadLetters.Partitions)
	if err := task.Emit(&letter); err != nil {
		// The record fits the server's limit without these headers: it was read from it. Rather a letter that says less
		// than none.
		delete(headers, DeadStack)
		headers.Set(DeadError, headerText(f.Err.Error(), 64))
		if err := task.Emit(&letter); err != nil {
			task.Stop(fmt.Errorf("%w; and it does not fit the dead letter topic: %w", stopError(f), err))
		}
	}
}

// setFailure says in the headers of a letter what has failed.
func setFailure(headers stream.Headers, operator string, err error, attempt int, now time.Time) {
	headers.Set(DeadOperator, headerText(operator, maxErrorHeader))
	headers.Set(DeadError, headerText(err.Error(), maxErrorHeader))
	headers.Set(DeadAttempt, strconv.Itoa(attempt))
	headers.Set(DeadTime, now.UTC().Format(time.RFC3339Nano))
	var panicked *PanicError
	if errors.As(err, &panicked) {
		headers.Set(DeadStack, headerText(string(panicked.Stack), maxStackHeader))
	}
}

// keepEventTime gives a letter the event time that its record would lose with its place: that of storage.
func (sub *subTopology) keepEventTime(headers stream.Headers, raw *engine.Raw) {
	switch written := raw.Headers.Get(stream.TimeHeader); {
	case raw.Internal:
		headers.Set(stream.TimeHeader, fromNanos(raw.Time).Format(time.RFC3339Nano))
		w := raw.Window
		headers.Set(DeadRepartitioned, fmt.Sprintf("%d %d %d %d", raw.Time, w.Start, w.End, w.Closes))
	case written != "":
		headers.Set(stream.TimeHeader, headerText(written, maxErrorHeader))
	case !sub.timed(raw.Topic):
		headers.Set(stream.TimeHeader, raw.Stored.UTC().Format(time.RFC3339Nano))
	}
}

// timed reports whether the values of a topic say when they happened.
func (sub *subTopology) timed(topic string) bool {
	for _, v := range sub.sources {
		if v.topic.Name == topic {
			return v.timed
		}
	}
	return false
}

// attemptsBefore returns how often a redriven record has failed before, 0 for others.
func attemptsBefore(h stream.Headers) int {
	n, err := strconv.Atoi(h.Get(AttemptHeader))
	if err != nil {
		return 0
	}
	return max(n, 0)
}

// headerText makes s fit a header: one line, no longer than limit bytes.
func headerText(s string, limit int) string {
	b := []byte(s[:min(len(s), limit)])
	for i, c := range b {
		if c == '\n' {
			b[i] = '|'
		} else if c < ' ' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}
