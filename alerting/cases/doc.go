// Package cases holds tests of alarm rules as data.
package cases
