package processor

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/stream"
)

// Builder gathers the description of a topology. Its verbs never fail: what is wrong is reported by Build, all of it, each
// mistake with the file and line of the call. A Builder is for one goroutine and for one Build.
type Builder struct {
	app         string
	vertices    []*vertex
	mistakes    []error
	deadLetters *stream.Topic[[]byte]
	lettersAt   string // file and line of DeadLetters
	policy      policy
	closeOnIdle time.Duration
	keepState   Medium
}

// NewBuilder returns an empty builder. app names the application: its consumer group, its journals and its internal topics
// are named after it, so it must stay the same over restarts. It is made of letters, digits, '-' and '_'.
func NewBuilder(app string) *Builder {
	b := &Builder{app: app}
	if !legalName.MatchString(app) {
		b.mistake(callSite(), "the app name %q must be made of letters, digits, '-' and '_'", app)
	}
	return b
}

// DeadLetters sets the topic of dead letters. Without it, it is "<app>-dead-letters" with one partition.
func (b *Builder) DeadLetters(topic stream.Topic[[]byte]) {
	b.deadLetters, b.lettersAt = &topic, callSite()
}

// CloseOnIdle lets the stream time of a task follow the clock, d behind it, once all inputs of the task are caught up and
// have been silent for d: the last window closes, absence is noticed. Zero, the default, leaves time to the records.
func (b *Builder) CloseOnIdle(d time.Duration) {
	if d < 0 {
		b.mistake(callSite(), "CloseOnIdle needs a duration of zero or more, got %v", d)
	}
	b.closeOnIdle = d
}

var legalName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// ErrTopology is what every error of Build wraps.
var ErrTopology = errors.New("the topology has mistakes")

func (b *Builder) mistake(at, format string, args ...any) {
	b.mistakes = append(b.mistakes, fmt.Errorf("%s: %s", at, fmt.Sprintf(format, args...)))
}

// library is the path of the packages whose frames are no call of the user: operators are built on one another.
const library = "github.com/rossby-streams/rossby/"

// callSite returns the file and line of the call that led into the library.
func callSite() string {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !ofLibrary(frame.Function) {
			return fmt.Sprintf("%s/%s:%d", filepath.Base(filepath.Dir(frame.File)), filepath.Base(frame.File), frame.Line)
		}
		if !more {
			return "unknown place"
		}
	}
}

// isComposed reports whether the call came through a package that builds on this one.
func isComposed() bool {
	var pcs [16]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs[:])])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, library+"processor.") {
			return ofLibrary(frame.Function)
		}
		if !more {
			return false
		}
	}
}

// ofLibrary reports whether a function belongs to one of the packages that describe topologies.
func ofLibrary(function string) bool {
	rest, ok := strings.CutPrefix(function, library)
	if !ok {
		return false
	}
	for _, pkg := range []string{"processor.", "join.", "alerting."} {
		if strings.HasPrefix(rest, pkg) {
			return true
		}
	}
	return false
}

// Mistake reports a mistake in a topology that in is part of: Build will list it with the file and line of the user's call. It
// is for packages that build operators of their own.
func Mistake[V any](in Upstream[V], format string, args ...any) {
	if s := in.AsStream(); s.b != nil {
		s.b.mistake(callSite(), format, args...)
	}
}

// kind of a vertex in the topology's graph.
type kind string

const (
	kindSource      kind = "source"
	kindFilter      kind = "filter"
	kindMap         kind = "map"
	kindFlatMap     kind = "flat-map"
	kindKeyBy       kind = "key-by"
	kindMerge       kind = "merge"
	kindBranch      kind = "branch"
	kindPeek        kind = "peek"
	kindProcess     kind = "process"
	kindSink        kind = "sink"
	kindRepartition kind = "repartition"
	kindDeliver     kind = "deliver"
	kindGlobal      kind = "global-table"
)

// vertex is one operator without its types: what the topology's shape is made of.
type vertex struct {
	kind    kind
	name    string // written by the user; empty where none is needed
	at      string // file and line of the call
	parents []*vertex
	stores  []string
	depends string    // what StateDependsOn has said
	globals []*vertex // the global tables that it looks up

	composed  bool    // made by a package that builds on this one, on behalf of one call
	policy    *policy // nil until Build: the topology's
	ownPolicy bool    // which is not the topology's, nor that of deliveries

	topic stream.TopicSpec // of sources and sinks
	timed bool             // a source whose values say when they happened
	gone  GonePolicy       // of a source
	// repartition: the KeyBy that feeds this source
	fedBy *vertex
	sub   *subTopology
	root  *vertex // disjoint sets while Build looks for sub-topologies
	rank  int     // index of the input (sources) or the sink in its sub-topology
	bind  func(w *wiring)
	// deliver: hands a batch over
	send func(context.Context, []stream.Outgoing) error
	// global tables: makes an empty one
	global func() Global
}

func (b *Builder) add(v *vertex) *vertex {
	v.composed = isComposed()
	b.vertices = append(b.vertices, v)
	return v
}
