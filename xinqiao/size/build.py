"""From a request to its answer: formats, the best plan, its figures."""

from xinqiao.size.answer import Answer
from xinqiao.size.choose import Named, formats
from xinqiao.size.learning import TrainingAnswer
from xinqiao.size.request import Request, check
from xinqiao.size.search import best, best_training
from xinqiao.size.serving import ServingAnswer


def answer(request: Request) -> Answer:
    """InputError for what cannot be asked; unknown figures of the chip are in `unknown`."""
    check(request)
    chosen, said = formats(request.model, request.chip, Named(request.weights, request.cache, request.attention))
    if request.learns:
        said = [text for text in said if not text.startswith("KV cache")]  # there is none
        return TrainingAnswer(best_training(request, chosen), said).answer()
    return ServingAnswer(best(request, chosen), said).answer()
