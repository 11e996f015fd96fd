package notify

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Defaults of the root route, Alertmanager's.
const (
	DefaultGroupWait      = 30 * time.Second
	DefaultGroupInterval  = 5 * time.Minute
	DefaultRepeatInterval = 4 * time.Hour
)

// GroupByAll as the only element of Route.GroupBy makes every set of labels a group of its own.
const GroupByAll = "..."

// Route is a node of the routing tree. What is left out is the parent's; Matchers, Continue and Routes are its own.
type Route struct {
	// Receiver is the name of who is told. The root must have one.
	Receiver string
	// Matchers say which alerts the route is for. The root has none: it is for all.
	Matchers Matchers
	// Continue lets alerts that match try the next routes of the same parent, too.
	Continue bool
	// GroupBy are the labels whose values make a group. Nil: as the parent has it; of the root, all alerts are one group.
	GroupBy []string
	// GroupWait is how long a new group waits for more alerts, GroupInterval the time between looks at it afterwards, RepeatInterval
	// when it is told of again if nothing has changed; it is looked at every GroupInterval only. Zero: as the parent.
	GroupWait, GroupInterval, RepeatInterval time.Duration
	// MuteTimeIntervals and ActiveTimeIntervals are names in Config.TimeIntervals: the route tells nobody while it is in one of the
	// former, or in none of the latter if there are any. Alerts stay in their groups, and those that still fire are told of at the
	// first flush afterwards. The root has none, and routes do not inherit them.
	MuteTimeIntervals, ActiveTimeIntervals []string
	// Routes are tried in order; the first that matches takes the alert.
	Routes []Route
}

// node is a route with what it inherits.
type node struct {
	Route
	key, id string // as Alertmanager makes them: the key is not unique, the id is
	routes  []*node
}

// tree checks a root route and makes nodes of it.
func tree(root Route, receivers map[string]bool) (*node, error) {
	if len(root.Matchers) > 0 || root.Continue {
		return nil, errors.New("the root route is for all alerts: leave Matchers and Continue out")
	}
	defaults := Route{GroupWait: DefaultGroupWait, GroupInterval: DefaultGroupInterval, RepeatInterval: DefaultRepeatInterval}
	return inherit(root, &node{Route: defaults}, "", receivers)
}

// inherit makes the node of a route; suffix is what tells it from its brothers.
func inherit(r Route, parent *node, suffix string, receivers map[string]bool) (*node, error) {
	own := r.Matchers.sorted()
	n := &node{Route: r, key: own.String(), id: own.String() + suffix}
	if suffix != "" {
		n.key, n.id = parent.key+"/"+n.key, parent.id+"/"+n.id
	}
	if n.Receiver == "" {
		n.Receiver = parent.Receiver
	}
	if n.GroupBy == nil {
		n.GroupBy = parent.GroupBy
	}
	for _, d := range []struct {
		name string
		own  *time.Duration
		of   time.Duration
	}{{"GroupWait", &n.GroupWait, parent.GroupWait}, {"GroupInterval", &n.GroupInterval, parent.GroupInterval}, {"RepeatInterval", &n.RepeatInterval, parent.RepeatInterval}} {
		if *d.own == 0 {
			*d.own = d.of
		}
		if *d.own < 0 {
			return nil, fmt.Errorf("route %s: %s must be zero or more, got %v", n.id, d.name, *d.own)
		}
	}
	switch {
	case !receivers[n.Receiver]:
		return nil, fmt.Errorf("route %s: there is no receiver %q: give it in Receivers", n.id, n.Receiver)
	case n.GroupInterval < time.Millisecond:
		return nil, fmt.Errorf("route %s: GroupInterval must be a millisecond or more, got %v", n.id, n.GroupInterval)
	case slices.Contains(n.GroupBy, GroupByAll) && len(n.GroupBy) > 1:
		return nil, fmt.Errorf("route %s: GroupBy has %q and other labels: it is all of them, or some", n.id, GroupByAll)
	}
	for i, child := range r.Routes {
		c, err := inherit(child, n, "/"+strconv.Itoa(i), receivers)
		if err != nil {
			return nil, err
		}
		n.routes = append(n.routes, c)
	}
	return n, nil
}

// match returns the deepest nodes that match, in the order of the tree.
func (n *node) match(labels map[string]string) []*node {
	if !n.Matchers.Match(labels) {
		return nil
	}
	var all []*node
	for _, child := range n.routes {
		found := child.match(labels)
		all = append(all, found...)
		if found != nil && !child.Continue {
			break
		}
	}
	if len(all) == 0 {
		return []*node{n}
	}
	return all
}

// walk visits the node and all below.
func (n *node) walk(visit func(*node)) {
	visit(n)
	for _, child := range n.routes {
		child.walk(visit)
	}
}

// groupLabels are the labels of the group that an alert belongs to.
func (n *node) groupLabels(labels map[string]string) map[string]string {
	if len(n.GroupBy) == 1 && n.GroupBy[0] == GroupByAll {
		return maps.Clone(labels)
	}
	group := make(map[string]string, len(n.GroupBy))
	for _, name := range n.GroupBy {
		if value, ok := labels[name]; ok {
			group[name] = value
		}
	}
	return group
}

// labelsText writes labels as Prometheus does: {a="b", c="d"}.
func labelsText(labels map[string]string) string {
	parts := make([]string, 0, len(labels))
	for _, name := range slices.Sorted(maps.Keys(labels)) {
		parts = append(parts, name+"="+strconv.Quote(labels[name]))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}
