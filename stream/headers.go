package stream

import (
	"maps"
	"strings"

	"github.com/nats-io/nats.go"
)

// TimeHeader carries the event time of a record, in RFC 3339 with nanoseconds,
// where a producer sets another time than the one in the value or the time of
// storage. Readers pay for headers, so it is absent otherwise.
const TimeHeader = "Rossby-Time"

// Headers are the headers of a message: names, which are case-sensitive, with
// one or more values each. nil is an empty set, for reading and for Set alike.
type Headers map[string][]string

// Get gives the first value of name, and "" when there is none.
func (h Headers) Get(name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// Set makes value the only value of name.
func (h *Headers) Set(name, value string) {
	if *h == nil {
		*h = make(Headers, 1)
	}
	(*h)[name] = []string{value}
}

// Clone gives a deep copy; nil for nil.
func (h Headers) Clone() Headers {
	if h == nil {
		return nil
	}
	c := make(Headers, len(h))
	for k, v := range h {
		c[k] = append([]string(nil), v...)
	}
	return c
}

// Trace gives the headers of W3C Trace Context and Baggage, whatever the case of their names: traceparent, tracestate and baggage. nil: there are
// none. The values are shared.
func (h Headers) Trace() Headers {
	var trace Headers
	for name, values := range h {
		switch strings.ToLower(name) {
		case "traceparent", "tracestate", "baggage":
			if trace == nil {
				trace = make(Headers, 3)
			}
			trace[name] = values
		}
	}
	return trace
}

// with gives a copy in which name has that value only. The values of other names
// are shared.
func (h Headers) with(name, value string) Headers {
	c := make(Headers, len(h)+1)
	maps.Copy(c, h)
	c[name] = []string{value}
	return c
}

// size is the number of bytes of h on the wire.
func (h Headers) size() int64 {
	if len(h) == 0 {
		return 0
	}
	n := len("NATS/1.0\r\n") + len("\r\n")
	for k, vs := range h {
		for _, v := range vs {
			n += len(k) + len(": ") + len(v) + len("\r\n")
		}
	}
	return int64(n)
}

func (h Headers) nats() nats.Header { return nats.Header(h) }
