// Package safetemplate refuses templates of users that could spin or call anything: text/template runs what it is given.
package safetemplate

import (
	"errors"
	"fmt"
	"text/template/parse"
)

// Rules say what a template may do. All of them are required.
type Rules struct {
	// Call returns why a function may not be called.
	Call func(name string) error
	// Range returns why a range may not go over that; within is how many ranges are around it.
	Range func(over *parse.PipeNode, within int) error
	// Declare returns why a pipe may not set its variables.
	Declare func(p *parse.PipeNode) error
}

// Check returns what a template does against the rules. None may include another.
func (r Rules) Check(t *parse.Tree) error { return r.node(t.Root, 0) }

func (r Rules) node(n parse.Node, within int) error {
	switch n := n.(type) {
	case *parse.ListNode:
		if n == nil {
			return nil
		}
		for _, child := range n.Nodes {
			if err := r.node(child, within); err != nil {
				return err
			}
		}
	case *parse.TemplateNode:
		return fmt.Errorf("line %d: template is not taken: write the text where it belongs", n.Line)
	case *parse.ActionNode:
		return r.pipe(n.Pipe)
	case *parse.IfNode:
		return r.branch(&n.BranchNode, within)
	case *parse.WithNode:
		return r.branch(&n.BranchNode, within)
	case *parse.RangeNode:
		if err := r.Range(n.Pipe, within); err != nil {
			return fmt.Errorf("line %d: range %s: %w", n.Line, n.Pipe, err)
		}
		return r.branch(&n.BranchNode, within+1)
	}
	return nil
}

func (r Rules) branch(n *parse.BranchNode, within int) error {
	return errors.Join(r.pipe(n.Pipe), r.node(n.List, within), r.node(n.ElseList, within))
}

func (r Rules) pipe(p *parse.PipeNode) error {
	if err := r.Declare(p); err != nil {
		return err
	}
	for _, c := range p.Cmds {
		for _, arg := range c.Args {
			if err := r.argument(arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r Rules) argument(arg parse.Node) error {
	switch a := arg.(type) {
	case *parse.IdentifierNode:
		return r.Call(a.Ident)
	case *parse.PipeNode:
		return r.pipe(a)
	case *parse.ChainNode:
		return r.argument(a.Node)
	}
	return nil
}
