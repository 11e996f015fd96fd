package processor

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

var (
	// ErrNoStore is what the error of NewQuery wraps when the topology has no such store.
	ErrNoStore = errors.New("no such store")
	// ErrUnanswered is what the error of a Query wraps when nobody has answered in time, beside the last reason.
	ErrUnanswered = errors.New("nobody has answered the query")
)

// QueryConfig says what is asked, and whom.
type QueryConfig struct {
	// Operator and Store are named as in the topology. Aggregates keep theirs in "aggregates", "windows" or "sessions" under their
	// name, tables in "rows", global tables in "rows" under the name of their topic. Required.
	Operator, Store string
	// Standby asks a copy that another instance keeps, if there is one (Config.Standby, and tasks that are about to move), else the
	// owner. Copies answer at once and spare the owner; what they say was true a moment ago.
	Standby bool
}

// queryTimeout is how long a query without a deadline is tried.
const queryTimeout = 10 * time.Second

// Query asks one store of a running app, from anywhere. Instances with Config.Queries answer, over NATS: each question goes to the
// instance that has the task. While a task moves it is asked again, until ctx ends, or for 10 s if ctx has no deadline; the error
// wraps ErrUnanswered then. A *stream.ServiceError says that the question was refused.
//
// What an owner answers is committed, and it was the owner after it was asked: no failure takes an answer back, and nothing older
// than an earlier answer comes, whichever instance gives it. Answers of standbys are committed as well, but may be old: compare
// Commit.
//
// A Query may be used by several goroutines.
type Query[V any] struct {
	client    *stream.Client
	app       string
	store     string
	parts     int
	partition int // -1: where the key is
	cfg       QueryConfig
}

// NewQuery returns a query to a store whose values have type V. The error wraps ErrNoStore if the topology has no store of that name.
func NewQuery[V any](client *stream.Client, t *Topology, cfg QueryConfig) (*Query[V], error) {
	var known []string
	for _, sub := range t.subs {
		for _, v := range sub.vertices {
			for _, s := range v.stores {
				known = append(known, v.name+" "+s)
				if v.name == cfg.Operator && s == cfg.Store {
					return &Query[V]{client: client, app: t.app, store: v.name + "." + s, parts: sub.partitions, partition: -1, cfg: cfg}, nil
				}
			}
		}
	}
	for _, v := range t.globals {
		known = append(known, v.name+" "+globalRowsName)
		if v.name == cfg.Operator && cfg.Store == globalRowsName {
			cfg.Standby = false // all instances are alike
			return &Query[V]{client: client, app: t.app, store: globalStore(v.name), parts: 1, partition: -1, cfg: cfg}, nil
		}
	}
	slices.Sort(known)
	return nil, fmt.Errorf("query app %s: %w: %q of operator %q; operators and their stores are: %s", t.app, ErrNoStore, cfg.Store, cfg.Operator, strings.Join(known, ", "))
}

// At returns the query for one partition: for keys that are not where a record with that key is, since an operator has made them up.
func (q *Query[V]) At(partition int) *Query[V] {
	at := *q
	at.partition = partition
	return &at
}

// Answer is what one task has answered.
type Answer[V any] struct {
	// Rows are those that were asked for.
	Rows []Row[V]
	// Partition and Instance say who has answered. Instance is Config.Instance, or made up where that is empty.
	Partition int
	Instance  string
	// Standby says that it was no owner.
	Standby bool
	// Commit is the number of the last commit in the answer: of two answers of a task, that with the greater one is newer.
	Commit uint64
	// Age is how long ago the answer of a standby was known to be all that there was: what the owner has committed since is not in it.
	// In a cluster, where it reads from a server that lags behind the journal's leader, it is older by as much.
	// Behind is how many messages of the journal the standby knew of and had not read, Committed when the last commit in the answer was
	// stored, by the server's clock. An owner's answer is of the moment: they are zero.
	Age       time.Duration
	Behind    uint64
	Committed time.Time
	// StreamTime is the highest event time that the task has processed; zero: none.
	StreamTime time.Time
	// Positions say what of its inputs the task has processed.
	Positions []InputPosition
}

// InputPosition says that a task has processed its partition of a topic up to an offset, exclusively.
type InputPosition struct {
	Topic string
	Next  uint64
}

// Row is a row of a store.
type Row[V any] struct {
	Key   string
	Value V
	// Time is the row's event time: that of a window store's row; of an aggregate, the highest event time added; of a versioned
	// value, that from which it counts. Zero: the store does not know.
	Time time.Time
	// Window is that of an aggregate or a session; its Closes is zero.
	Window Window
}

// Get asks for the value of a key, of a key-value or versioned store. There is one row if there is a value, else none.
func (q *Query[V]) Get(ctx context.Context, key string) (Answer[V], error) {
	a, _, err := q.ask(ctx, q.partitionOf(key), question{verb: verbGet, key: key, limit: 1})
	return a, err
}

// AsOf asks a versioned store for the value of a key that counted at an event time. There is one row if there was one, else none; none too if the
// time is longer ago than the store's retention.
func (q *Query[V]) AsOf(ctx context.Context, key string, at time.Time) (Answer[V], error) {
	a, _, err := q.ask(ctx, q.partitionOf(key), question{verb: verbAsOf, key: key, at: at, limit: 1})
	return a, err
}

// Range asks for the rows with from <= key < to; an empty to is no end. It yields pages of rows, in order of the keys, of one
// partition after another; each page is what Get would say of its keys at one moment. It stops at the first error. To find a page
// of a store in memory the task visits all its keys, and processes nothing meanwhile; those on disk are in order, unless their values expire.
func (q *Query[V]) Range(ctx context.Context, from, to string) iter.Seq2[Answer[V], error] {
	return func(yield func(Answer[V], error) bool) {
		for p := range q.parts {
			if q.partition >= 0 && p != q.partition {
				continue
			}
			if !q.pages(ctx, p, question{verb: verbRange, from: from, to: to, limit: maxQueryRows}, yield) {
				return
			}
		}
	}
}

// Windows asks for the rows of a key in a window or session store: those with from <= time <= to, the windows that start then, or the
// sessions that overlap that span. It yields pages of rows by time, sessions by their end. It stops at the first error.
func (q *Query[V]) Windows(ctx context.Context, key string, from, to time.Time) iter.Seq2[Answer[V], error] {
	return func(yield func(Answer[V], error) bool) {
		since, until := fromNanos(clampNanos(from)), fromNanos(clampNanos(to))
		q.pages(ctx, q.partitionOf(key), question{verb: verbWindows, key: key, since: since, until: until, limit: maxQueryRows}, yield)
	}
}

// All asks for the rows of all keys in a window or session store, of the times that Windows would give. It yields pages of rows, by key and then by
// time, of one partition after another. It stops at the first error.
func (q *Query[V]) All(ctx context.Context, from, to time.Time) iter.Seq2[Answer[V], error] {
	return func(yield func(Answer[V], error) bool) {
		since, until := fromNanos(clampNanos(from)), fromNanos(clampNanos(to))
		for p := range q.parts {
			if q.partition >= 0 && p != q.partition {
				continue
			}
			if !q.pages(ctx, p, question{verb: verbAll, since: since, until: until, limit: maxQueryRows}, yield) {
				return
			}
		}
	}
}

// pages yields what one partition has to say. It reports whether there was no error and nobody has had enough.
func (q *Query[V]) pages(ctx context.Context, partition int, what question, yield func(Answer[V], error) bool) bool {
	for {
		a, more, err := q.ask(ctx, partition, what)
		if !yield(a, err) || err != nil {
			return false
		}
		if more == "" {
			return true
		}
		what.more = more
	}
}

func (q *Query[V]) partitionOf(key string) int {
	if q.partition >= 0 {
		return q.partition
	}
	return stream.Partition(key, q.parts)
}

// ask asks until there is an answer or ctx ends.
func (q *Query[V]) ask(ctx context.Context, partition int, what question) (a Answer[V], more string, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("query store %s of app %s, partition %d: %w", q.store, q.app, partition, err)
		}
	}()
	if partition >= q.parts {
		return a, "", fmt.Errorf("there are only %d partitions, from 0 on", q.parts)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, queryTimeout)
		defer cancel()
	}
	pause, patience := queryPause, queryPatience
	for ; ; pause, patience = min(2*pause, 32*queryPause), 2*patience {
		what.wait = min(patience, maxQueryWait*time.Millisecond) // who answers need not afterwards
		data, err := what.encode()
		if err != nil {
			return a, "", err
		}
		one, cancel := context.WithTimeout(ctx, patience)
		answer, err := q.askOnce(one, partition, what.verb, data)
		cancel()
		var refused *stream.ServiceError
		switch {
		case err == nil:
			return readAnswer[V](answer)
		case errors.As(err, &refused) && refused.Code != stream.ServiceUnavailable:
			return a, "", err
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return a, "", fmt.Errorf("%w: %w: %w (is an instance running, with Config.Queries?)", ErrUnanswered, ctx.Err(), err)
		case <-timer.C:
		}
	}
}

// queryPause is the first pause between two attempts, queryPatience how long the first one may take: who dies with a question
// does not say so.
const (
	queryPause    = 10 * time.Millisecond
	queryPatience = 250 * time.Millisecond
)

// askOnce asks a standby, if it is to, and the owner if there is none.
func (q *Query[V]) askOnce(ctx context.Context, partition int, verb string, data []byte) ([]byte, error) {
	if q.cfg.Standby {
		answer, err := q.client.Request(ctx, querySubject(q.app, q.store, partition, true, verb), data)
		if !errors.Is(err, stream.ErrNoService) {
			return answer, err
		}
	}
	return q.client.Request(ctx, querySubject(q.app, q.store, partition, false, verb), data)
}
