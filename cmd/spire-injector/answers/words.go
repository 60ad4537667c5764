package answers

import (
	"fmt"
	"strings"

	"github.com/spire-injector/spire-injector/templates/ir"
)

// mostNames bounds lists of names in a sentence.
const mostNames = 5

// agreeVerb is the words that agree with a number.
func agreeVerb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// agree is a number with the noun, or noun and verb, that agrees with it.
func agree(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// ruleTexts are what rules let in.
func ruleTexts(rules []ir.Rule) string {
	texts := make([]string, len(rules))
	for i, rule := range rules {
		methods, paths := "every method", "every path"
		if rule.Methods != nil {
			methods = strings.Join(rule.Methods, ", ")
		}
		if rule.Paths != nil {
			var all []string
			for _, p := range rule.Paths {
				all = append(all, p.String())
			}
			paths = strings.Join(all, ", ")
		}
		texts[i] = methods + " of " + paths
	}
	return strings.Join(texts, "; ")
}
