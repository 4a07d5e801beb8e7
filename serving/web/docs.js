// validatorUrl is off: Swagger UI would send the document to a public site.
SwaggerUIBundle({ url: "docs.json", dom_id: "#interface", deepLinking: true, validatorUrl: null });
