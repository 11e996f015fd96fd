package processor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rossby-streams/rossby/processor/internal/disk"
	"github.com/rossby-streams/rossby/stream"
)

// ErrActive is what the error of Reset wraps when instances of the app are running. It is an *ActiveError.
var ErrActive = errors.New("instances of the app are active")

// ActiveError says which instances keep an app from being reset. Nothing was deleted unless During.
type ActiveError struct {
	App string
	// Instances are their names: Config.Instance, or made up where that is empty, as those of bounded runs always are.
	Instances []string
	// Seen is when the server heard of the last one. One that has died is known of until its SessionTimeout is over, and a little
	// more; so is one with a static name that has left.
	Seen time.Time
	// During says that they joined while Reset was at work: stop them and reset again.
	During bool
}

// Error names the instances and the way out.
func (e *ActiveError) Error() string {
	when := "nothing was deleted"
	if e.During {
		when = "they joined meanwhile"
	}
	return fmt.Sprintf("app %s: %v: %s, last heard of at %s; %s: stop them, or wait for the session timeout of those that have died, and reset again",
		e.App, ErrActive, strings.Join(e.Instances, ", "), e.Seen.Format(time.RFC3339), when)
}

// Is reports whether target is ErrActive.
func (e *ActiveError) Is(target error) bool { return target == ErrActive }

// ResetConfig says how Reset works. The zero value resets the app.
type ResetConfig struct {
	// DryRun only tells what would be deleted. It works while instances are running, too.
	DryRun bool
	// DeadLetters deletes the topic of dead letters as well, if the app made it under its own name: see Builder.DeadLetters. The journals of
	// Redrive go with it.
	DeadLetters bool
	// StateDir is the Config.StateDir of the app on this machine: what its database has of the app is deleted, and the files, if it has nothing
	// else. Empty: it is left there. It does no harm: the next Run finds that it belongs to journals that are gone, and builds it anew.
	StateDir string
}

// Belongings are what an app keeps on the server, and on this machine, beside the topics that its topology names.
type Belongings struct {
	// Journals hold the state of its tasks, one each, and how far its dead letters were sent back, if those are to go.
	Journals []string
	// Topics are the repartition topics, and that of its dead letters if those are to go.
	Topics []string
	// StateDir is the folder of the database for stores on disk, if there is one.
	StateDir string
	// Groups are the topics in which it has a consumer group, named after the app, that shows how far it has come.
	Groups []string
}

// Reset deletes everything that an app keeps on the server: the journals of its tasks with all state, its repartition topics, its
// consumer groups and what is known of its instances. It returns what that was. The next Run begins at the beginning of its topics.
// What it has written to topics stays, and so do the topics it reads: empty those of results first if they should hold the new ones
// only.
//
// While instances are running, bounded runs too, it refuses with an *ActiveError. It knows what the topology as given says: journals and
// topics of operators that have been renamed since are those of the former topology. A Reset that failed may have deleted a part: repeat it
// before the app runs again. The log of all groups, which apps and consumers share, stays.
func Reset(ctx context.Context, client *stream.Client, t *Topology, cfg ResetConfig) (Belongings, error) {
	r := &reset{client: client, topology: t, cfg: cfg}
	err := r.run(ctx)
	if err != nil && !errors.Is(err, ErrActive) {
		err = fmt.Errorf("reset app %s: %w", t.app, err)
	}
	return r.found, err
}

// reset is one Reset under way.
type reset struct {
	client   *stream.Client
	topology *Topology
	cfg      ResetConfig
	found    Belongings
}

func (r *reset) run(ctx context.Context) error {
	if !r.cfg.DryRun {
		if err := r.inactive(ctx, false); err != nil {
			return err
		}
	}
	if err := r.find(ctx); err != nil || r.cfg.DryRun {
		return err
	}
	// An app with journals and no repartition topics refuses to run; one with the topics and no journals would count twice.
	for _, name := range r.found.Topics {
		if err := r.client.DeleteTopic(ctx, name); err != nil && !isNoTopic(err) {
			return err
		}
	}
	for _, name := range r.found.Journals {
		if err := r.client.DeleteJournal(ctx, name); err != nil {
			return err
		}
	}
	for _, spec := range r.topology.inputs() {
		if slices.Contains(r.found.Groups, spec.Name) {
			if err := r.client.DeleteGroup(ctx, spec, r.topology.app); err != nil && !isNoTopic(err) {
				return err
			}
		}
	}
	if err := r.inactive(ctx, true); err != nil {
		return err
	}
	if err := r.forgetDisk(); err != nil {
		return err
	}
	for _, group := range []string{membership(r.topology.app), boundedRuns(r.topology.app)} {
		if err := r.client.Disband(ctx, group); err != nil {
			return err
		}
	}
	return nil
}

func isNoTopic(err error) bool {
	var none *stream.TopicNotFoundError
	return errors.As(err, &none)
}

// membership is the name of the group whose members share an app's tasks.
func membership(app string) string { return "app." + app }

// boundedRuns is the name of the group whose members are the bounded runs of an app.
func boundedRuns(app string) string { return membership(app) + ".bounded" }

func (r *reset) inactive(ctx context.Context, during bool) error {
	var members []stream.MemberInfo
	for _, group := range []string{membership(r.topology.app), boundedRuns(r.topology.app)} {
		found, err := r.client.Joined(ctx, group)
		if err != nil {
			return err
		}
		members = append(members, found...)
	}
	if len(members) == 0 {
		return nil
	}
	e := &ActiveError{App: r.topology.app, During: during}
	for _, m := range members {
		e.Instances = append(e.Instances, m.Name)
		if m.Seen.After(e.Seen) {
			e.Seen = m.Seen
		}
	}
	return e
}

// forgetDisk deletes what the state database of this machine has of the app.
func (r *reset) forgetDisk() error {
	if r.found.StateDir == "" {
		return nil
	}
	return disk.Forget(disk.Config{Dir: r.found.StateDir}, r.topology.app+"/")
}

// find fills found with what there is.
func (r *reset) find(ctx context.Context) error {
	if dir := r.cfg.StateDir; dir != "" {
		if _, err := os.Stat(dir); err == nil {
			r.found.StateDir = dir
		} else if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	journals, err := r.client.Journals(ctx)
	if err != nil {
		return err
	}
	for _, name := range journals {
		if r.topology.hasJournal(name) || r.cfg.DeadLetters && r.topology.hasRedrive(name) {
			r.found.Journals = append(r.found.Journals, name)
		}
	}
	for _, name := range r.topology.ownTopics(r.cfg.DeadLetters) {
		_, err := r.client.DescribeTopic(ctx, name)
		if err != nil && !isNoTopic(err) {
			return err
		}
		if err == nil {
			r.found.Topics = append(r.found.Topics, name)
		}
	}
	for _, spec := range r.topology.inputs() {
		groups, err := r.client.Groups(ctx, spec)
		if err != nil && !isNoTopic(err) {
			return err
		}
		if slices.ContainsFunc(groups, func(g stream.GroupInfo) bool { return g.Group == r.topology.app }) {
			r.found.Groups = append(r.found.Groups, spec.Name)
		}
	}
	return nil
}

// journalOf is the name of the journal of a task.
func journalOf(app, task string) string { return app + "-" + task + "-journal" }

// hasJournal reports whether a journal belongs to a task of the topology, however many partitions it had.
func (t *Topology) hasJournal(name string) bool {
	for _, sub := range t.subs {
		const any = "*"
		prefix, suffix, _ := strings.Cut(journalOf(t.app, sub.name+"-"+any), any)
		rest, ok1 := strings.CutPrefix(name, prefix)
		number, ok2 := strings.CutSuffix(rest, suffix)
		if !ok1 || !ok2 {
			continue
		}
		if p, err := strconv.Atoi(number); err == nil && strconv.Itoa(p) == number && p >= 0 {
			return true
		}
	}
	return false
}

// hasRedrive reports whether a journal says how far dead letters of the app were sent back, whose topic is its own.
func (t *Topology) hasRedrive(name string) bool {
	rest, ok := strings.CutPrefix(name, defaultDeadLetters(t.app)+"-")
	return ok && t.deadLetters.Name == defaultDeadLetters(t.app) && strings.HasSuffix(rest, redriveSuffix)
}

// ownTopics are the topics that nobody has named but the app: they go when it goes.
func (t *Topology) ownTopics(letters bool) []string {
	var own []string
	for _, sub := range t.subs {
		for _, in := range sub.plan.Inputs {
			if in.Internal {
				own = append(own, in.Topic.Name)
			}
		}
	}
	if letters && t.deadLetters.Name == defaultDeadLetters(t.app) {
		own = append(own, t.deadLetters.Name)
	}
	return own
}

// inputs are the topics that the tasks read and that users have named.
func (t *Topology) inputs() []stream.TopicSpec {
	var specs []stream.TopicSpec
	for _, sub := range t.subs {
		for _, in := range sub.plan.Inputs {
			if !in.Internal && !slices.ContainsFunc(specs, func(s stream.TopicSpec) bool { return s.Name == in.Topic.Name }) {
				specs = append(specs, in.Topic)
			}
		}
	}
	return specs
}
