// Package propertytest says how many cases the property tests of this module try, and which of the scenarios.
package propertytest

import (
	"flag"
	"fmt"
	"hash/fnv"
	"testing"
)

// How many cases a property tries: many, since each is small. The race detector makes them ten times slower, and they have no races.
const (
	usual     = "10000"
	withRace  = "500"
	withShort = "250"
)

// Chosen reports whether a case is to be tried in a way that takes long: each, or a third of them under the race detector and with -short.
// It is the same for a name at all times.
func Chosen(name string) bool {
	if !raceDetector && !testing.Short() {
		return true
	}
	h := fnv.New32a()
	h.Write([]byte(name)) // never fails
	return h.Sum32()%3 == 0
}

// Cases parses the flags and sets how many cases properties try: 10,000, or 500 under the race detector, or 250 with -short.
// -rapid.checks on the command line decides. Call it first in TestMain.
func Cases() error {
	flag.Parse()
	cases := usual
	switch {
	case testing.Short():
		cases = withShort
	case raceDetector:
		cases = withRace
	}
	set := false
	flag.Visit(func(f *flag.Flag) { set = set || f.Name == "rapid.checks" })
	if set {
		return nil
	}
	if err := flag.Set("rapid.checks", cases); err != nil {
		return fmt.Errorf("the number of cases of properties: %w", err)
	}
	return nil
}
