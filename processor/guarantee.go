package processor

import "fmt"

// Guarantee says how often the results of a record are seen.
type Guarantee uint8

const (
	// ExactlyOnce lets every record take effect once, whatever dies when: results, state and positions are one transaction.
	ExactlyOnce Guarantee = iota
	// AtLeastOnce publishes results before the commit that they belong to: they are stored once rather than twice, and without
	// message ids. State and positions are one transaction still, so that no record is counted twice where it is kept; but what was
	// published since the last commit of an instance that dies is published again. It comes after what was published since, perhaps
	// with other values, and repartition topics carry it on into the state of the next sub-topology. Nothing is lost. The token of a Delivery
	// is unique, but the same delivery has another one when it is repeated.
	AtLeastOnce
)

// String returns the name in words.
func (g Guarantee) String() string {
	switch g {
	case ExactlyOnce:
		return "exactly-once"
	case AtLeastOnce:
		return "at-least-once"
	}
	return fmt.Sprintf("Guarantee(%d)", uint8(g))
}
