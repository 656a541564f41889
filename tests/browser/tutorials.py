"""Which cells of a tutorial its widgets need, and the small budget they run under."""

import ast

import nbformat

VIEW = "application/vnd.jupyter.widget-view+json"
BUDGET = """\
import ast, functools, inspect

from imitation_lab.algorithms.adversarial.common import AdversarialTrainer
from imitation_lab.algorithms.density import DensityAlgorithm
from imitation_lab.algorithms.mce_irl import MCEIRL
from imitation_lab.algorithms.preference_comparisons import PreferenceComparisons
from imitation_lab.algorithms.sqil import SQIL


def bounded(cls, method="train", **most):
    \"\"\"Gives the method at most so much of each argument; a bound may depend on the trainer.\"\"\"
    function = getattr(cls, method)

    @functools.wraps(function)
    def within(self, *args, **kwargs):
        call = inspect.signature(function).bind(self, *args, **kwargs)
        for name, bound in most.items():
            if name in call.arguments:
                call.arguments[name] = min(call.arguments[name], bound(self) if callable(bound) else bound)
        return function(*call.args, **call.kwargs)

    setattr(cls, method, within)


class WithoutAsserts(ast.NodeTransformer):
    \"\"\"What a cell asserts about its results needs its whole budget; nbval runs it with that.\"\"\"

    def visit_Assert(self, node):
        return ast.copy_location(ast.Pass(), node)


bounded(AdversarialTrainer, total_timesteps=lambda trainer: 2 * trainer.gen_train_timesteps)
bounded(DensityAlgorithm, "train_policy", n_timesteps=1000)
bounded(MCEIRL, max_iter=150)
bounded(PreferenceComparisons, total_timesteps=5000, total_comparisons=50)
bounded(PreferenceComparisons, "step", timesteps=1000)
bounded(SQIL, total_timesteps=4500)
get_ipython().ast_transformers.append(WithoutAsserts())
"""


def _root(node: ast.AST) -> str | None:
    """`a` of ``a.b[c](d)``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


class _Cell:
    """The names that a cell reads, those it gives a value, those of things it may change; whether it registers."""

    def __init__(self, source: str) -> None:
        self.reads: set[str] = set()
        self.writes: set[str] = set()
        self.imports: set[str] = set()
        self.changes: set[str | None] = set()
        self.registers = False
        tree = ast.parse(source)
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
                self.reads.add(node.id)
            elif isinstance(node, ast.alias):
                self.imports.add((node.asname or node.name).split(".")[0])
            elif isinstance(node, ast.withitem):
                self.changes.add(_root(node.context_expr))
            called = isinstance(node, ast.Call)
            target = node.func if called else node
            self.registers |= called and getattr(target, "attr", None) == "register"
            if isinstance(target, ast.Attribute | ast.Subscript) and (called or isinstance(target.ctx, ast.Store)):
                self.changes.add(_root(target))
        self._bindings(tree)

    def _bindings(self, tree: ast.AST) -> None:
        for node in ast.iter_child_nodes(tree):
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                self.writes.add(node.name)  # what is bound within is its own affair
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                self.writes.add(node.id)
            elif not isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
                self._bindings(node)


def shows_widget(cell: nbformat.NotebookNode) -> bool:
    """Whether a view of a widget is among the cell's stored outputs."""
    return any(VIEW in output.get("data", {}) for output in cell.get("outputs", ()))


def needed_cells(notebook: nbformat.NotebookNode) -> list[int]:
    """Return the numbers of the cells that show widgets, and of those that make or change what these show.

    What a cell registers is asked for by a string: such cells are always among them.
    """
    code = {i: _Cell(cell.source) for i, cell in enumerate(notebook.cells) if cell.cell_type == "code"}
    modules = set().union(*(cell.imports for cell in code.values()))
    wanted: set[str] = set()
    kept = []
    for i, cell in reversed(code.items()):
        given = (cell.writes | cell.imports | cell.changes) - (modules - cell.imports)
        if shows_widget(notebook.cells[i]) or cell.registers or given & wanted:
            kept.append(i)
            wanted |= cell.reads
    return kept[::-1]
