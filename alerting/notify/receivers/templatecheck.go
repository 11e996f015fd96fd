package receivers

import (
	"errors"
	"fmt"
	"slices"
	"text/template/parse"
)

// place is where a node is: within how many ranges.
type place int

const (
	outside place = iota
	inRange
	inInnerRange
)

// What ranges go over: lists of data, and nothing else has these names. Alerts within alerts would be a square of them.
var (
	overAlerts = []string{"Alerts", "Firing", "Resolved"}
	overPairs  = []string{"Labels", "Annotations", "GroupLabels", "CommonLabels", "CommonAnnotations", "SortedPairs", "Names", "Values"}
)

// mayCall are the functions of text/template that are taken. call runs what it is given, html, js and urlquery let a text grow when they are
// chained, and print makes a text of any length.
var mayCall = []string{"and", "or", "not", "len", "index", "slice", "eq", "ne", "lt", "le", "gt", "ge", "break", "continue"}

// checkNode refuses what could spin, or call anything.
func checkNode(n parse.Node, at place) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := checkNode(child, at); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return fmt.Errorf("line %d: template is not taken: write the text where it belongs", n.Line)
	case *parse.ActionNode:
		return checkPipe(n.Pipe)
	case *parse.IfNode:
		return checkBranch(&n.BranchNode, at)
	case *parse.WithNode:
		return checkBranch(&n.BranchNode, at)
	case *parse.RangeNode:
		if !mayRange(n.Pipe, at) {
			return fmt.Errorf("line %d: range %s: it goes over .Alerts, labels or annotations, and within that over labels or annotations", n.Line, n.Pipe)
		}
		return checkBranch(&n.BranchNode, at+1)
	}
	return nil
}

func checkBranch(n *parse.BranchNode, at place) error {
	return errors.Join(checkPipe(n.Pipe), checkNode(n.List, at), checkNode(n.ElseList, at))
}

// mayRange says that a range goes over a list of the data by its name: a variable may hold a number, which would make it spin.
func mayRange(p *parse.PipeNode, at place) bool {
	if len(p.Cmds) != 1 || len(p.Cmds[0].Args) != 1 || at >= inInnerRange {
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
	return slices.Contains(overPairs, last) || at == outside && slices.Contains(overAlerts, last)
}

func checkPipe(p *parse.PipeNode) error {
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			if err := checkArgument(arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkArgument(arg parse.Node) error {
	switch a := arg.(type) {
	case *parse.IdentifierNode:
		if _, ours := functions()[a.Ident]; !ours && !slices.Contains(mayCall, a.Ident) {
			return fmt.Errorf("%s is not taken; see Template for what is", a.Ident)
		}
	case *parse.PipeNode:
		return checkPipe(a)
	case *parse.ChainNode:
		return checkArgument(a.Node)
	}
	return nil
}
