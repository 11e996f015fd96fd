package receivers

import (
	"errors"
	"fmt"
	"slices"
	"text/template/parse"

	"github.com/rossby-streams/rossby/alerting/internal/safetemplate"
)

// What ranges go over: lists of data, and nothing else has these names. Alerts within alerts would be a square of them.
var (
	overAlerts = []string{"Alerts", "Firing", "Resolved"}
	overPairs  = []string{"Labels", "Annotations", "GroupLabels", "CommonLabels", "CommonAnnotations", "SortedPairs", "Names", "Values"}
)

// mayCall are the functions of text/template that are taken. call runs what it is given, html, js and urlquery let a text grow when they are
// chained, and print makes a text of any length.
var mayCall = []string{"and", "or", "not", "len", "index", "slice", "eq", "ne", "lt", "le", "gt", "ge", "break", "continue"}

// inNotices are the rules of notices' templates.
var inNotices = safetemplate.Rules{Call: checkCall, Range: checkRange, Declare: func(*parse.PipeNode) error { return nil }}

func checkCall(name string) error {
	if _, ours := functions(new(work))[name]; !ours && !slices.Contains(mayCall, name) {
		return fmt.Errorf("%s is not taken; see Template for what is", name)
	}
	return nil
}

func checkRange(over *parse.PipeNode, within int) error {
	if !mayRange(over, within) {
		return errors.New("it goes over .Alerts, labels or annotations, and within that over labels or annotations")
	}
	return nil
}

// mayRange says that a range goes over a list of the data by its name: a variable may hold a number, which would make it spin.
func mayRange(p *parse.PipeNode, within int) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 || within > 1 {
		return false
	}
	var path []string
	switch a := p.Cmds[0].Args[0].(type) {
	case *parse.FieldNode:
		path = a.Ident
	case *parse.VariableNode:
		path = a.Ident[1:]
	}
	if len(path) == 0 {
		return false
	}
	last := path[len(path)-1]
	return slices.Contains(overPairs, last) || within == 0 && slices.Contains(overAlerts, last)
}
