package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// parseYAML reads YAML with the library and takes of it what JSON has.
func parseYAML(data []byte, what string) (*Node, error) {
	dec := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := dec.Decode(&doc); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, &Error{Line: 1, Column: 1, Reason: "the file is empty: it must hold " + what}
		}
		return nil, yamlFailure(err)
	}
	var more yaml.Node
	if err := dec.Decode(&more); err == nil {
		return nil, &Error{Line: more.Line, Column: 1, Reason: "this is a second document: keep one in a file"}
	} else if !errors.Is(err, io.EOF) {
		return nil, yamlFailure(err)
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, &Error{Line: 1, Column: 1, Reason: "the file is empty: it must hold " + what}
	}
	n := &Node{Line: doc.Content[0].Line, Column: doc.Content[0].Column}
	return n, fromYAML(n, doc.Content[0], 0)
}

var yamlLine = regexp.MustCompile(`line ([0-9]+): `)

func yamlFailure(err error) *Error {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	e := &Error{Line: 1, Column: 1}
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			e.Line = line
		}
		text = strings.Replace(text, m[0], "", 1)
	}
	first, _, _ := strings.Cut(strings.TrimSpace(text), "\n")
	e.Reason = "this is not YAML (nor JSON, which begins with {): " + first
	return e
}

func fromYAML(n *Node, y *yaml.Node, depth int) error {
	if y.Anchor != "" || y.Kind == yaml.AliasNode {
		return n.Errorf("anchors and aliases are not read: write the value where it belongs")
	}
	if depth > maxDepth {
		return n.Errorf("the file is nested more than %d levels deep", maxDepth)
	}
	switch y.Kind {
	case yaml.MappingNode:
		return mappingFromYAML(n, y, depth)
	case yaml.SequenceNode:
		n.Kind = Array
		for i, item := range y.Content {
			child := &Node{Pointer: n.Pointer + "/" + strconv.Itoa(i), Line: item.Line, Column: item.Column}
			n.Items = append(n.Items, child)
			if err := fromYAML(child, item, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	return scalarFromYAML(n, y)
}

func mappingFromYAML(n *Node, y *yaml.Node, depth int) error {
	n.Kind = Object
	seen := make(map[string]bool, len(y.Content)/2)
	for i := 0; i+1 < len(y.Content); i += 2 {
		key, value := y.Content[i], y.Content[i+1]
		child := &Node{Pointer: n.Pointer + "/" + escape(key.Value), Line: key.Line, Column: key.Column}
		switch {
		case key.Kind != yaml.ScalarNode || key.Anchor != "" || key.Tag == "!!merge":
			return child.Errorf("a field needs a plain name")
		case seen[key.Value]:
			return child.Errorf("the field is given twice: keep one")
		}
		seen[key.Value] = true
		n.Names, n.Items = append(n.Names, key.Value), append(n.Items, child)
		if err := fromYAML(child, value, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// jsonNumber is what JSON takes for a number: other forms that YAML has, such as 0x10, 1_000 and .inf, are refused.
var jsonNumber = regexp.MustCompile(`^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?$`)

func scalarFromYAML(n *Node, y *yaml.Node) error {
	if y.Style&yaml.TaggedStyle != 0 {
		return n.Errorf("tags such as %s are not read", y.Tag)
	}
	n.Text = y.Value
	switch y.ShortTag() {
	case "!!str", "!!timestamp":
		n.Kind = String
		switch y.Style {
		case 0:
			n.ValueLine, n.ValueColumn = y.Line, y.Column
		case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
			if !strings.ContainsAny(y.Value, "'\"\\\n") {
				n.ValueLine, n.ValueColumn = y.Line, y.Column+1
			}
		}
	case "!!int", "!!float":
		n.Kind = Number
		if !jsonNumber.MatchString(y.Value) {
			return n.Errorf("%s is no plain number: write it in decimal digits, or in quotes if it is a text", y.Value)
		}
	case "!!bool":
		n.Kind = Bool
		if y.Value != "true" && y.Value != "false" {
			return n.Errorf("%s is neither true nor false: put it in quotes if it is a text", y.Value)
		}
	case "!!null":
		return n.Errorf("the value is null: give a value or leave the field out")
	default:
		return n.Errorf("%s is not read here", fmt.Sprintf("a value of the kind %s", y.ShortTag()))
	}
	return nil
}
