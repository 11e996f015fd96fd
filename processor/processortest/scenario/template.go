package scenario

import "strings"

// Joiner returns the function of a joiner: of a template of {key}, {left} and {right}, where a missing side prints null, or of int-sum
// or key-sum (key:left+right), where it counts 0. A missing side is nil.
func Joiner(description string) (func(key string, left, right *string) (string, error), error) {
	switch description {
	case "":
		return nil, malformed("the join has no joiner")
	case "int-sum":
		return func(_ string, left, right *string) (string, error) { return sum(left, right) }, nil
	case "key-sum":
		if err := knows(description, "{key}", "{left}", "{right}"); err != nil {
			return nil, err
		}
		return func(key string, left, right *string) (string, error) {
			total, err := sum(left, right)
			return key + ":" + total, err
		}, nil
	}
	if !strings.Contains(description, "{") {
		return nil, NotApplicable("the joiner %q is not known", description)
	}
	if err := knows(description, "{key}", "{left}", "{right}"); err != nil {
		return nil, err
	}
	return func(key string, left, right *string) (string, error) {
		return fill(description, "{key}", key, "{left}", orNull(left), "{right}", orNull(right)), nil
	}, nil
}

// fill puts values into a template, all at once: what a value contains is not looked at.
func fill(template string, oldnew ...string) string {
	return strings.NewReplacer(oldnew...).Replace(template)
}

func orNull(side *string) string {
	if side == nil {
		return "null"
	}
	return *side
}
