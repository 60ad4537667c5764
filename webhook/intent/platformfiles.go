package intent

import corev1 "k8s.io/api/core/v1"

// filesFields are those of sidecar.files: the container that keeps files.
var filesFields = []platformField{
	{
		name:    "image",
		doc:     "image of the spiffe-files sidecar: the injector's own",
		without: "that of sidecar.jwt; without either, pods in mode files are denied",
		schema:  notEmptySchema,
		parse: one(func(p *Platform, image string) error {
			p.Sidecar.Files.Image = image
			if image == "" {
				return nil
			}
			return checkImage(image)
		}),
	},
	{
		name:    "resources",
		doc:     "resources of the spiffe-files sidecar",
		without: "none",
		schema:  resourcesSchema,
		parse:   parseResourcesInto(func(p *Platform) *corev1.ResourceRequirements { return &p.Sidecar.Files.Resources }),
	},
}
